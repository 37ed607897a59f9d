# frozen_string_literal: true

require 'securerandom'
require 'sequel'
require 'sinatra/base'

# A guestbook: "ok" is said after the entry is committed; the same name twice is one entry. It writes into the database
# that the site was made with, else into one of its own, and connects when it is first asked.
class Guestbook < Sinatra::Base
  set :protection, except: :host_authorization # the front doors let only names of this site through
  set :show_exceptions, false
  set :raise_errors, false
  OPENING = Mutex.new

  helpers do
    def entries
      OPENING.synchronize { @@database ||= opened }[:entry]
    end

    def opened
      database = Sequel.connect(**place)
      database.extension(:connection_validator)
      database.pool.connection_validation_timeout = 5 # its server may have moved since
      database.create_table?(:entry) do
        primary_key :number
        String :name, size: 100, null: false, unique: true
        String :text, text: true, null: false
        DateTime :at, null: false
      end
      database
    end

    def place
      return own_file unless ENV['DATABASE_KIND'] == 'postgres'

      { adapter: 'postgres', host: ENV.fetch('DATABASE_HOST'), port: ENV.fetch('DATABASE_PORT'),
        database: ENV.fetch('DATABASE_NAME'), user: ENV.fetch('DATABASE_USER'),
        password: ENV.fetch('DATABASE_PASSWORD'), connect_timeout: 20 }
    end

    # SQLite commits by deleting its journal and does not sync that: a power cut would undo it. A shortened one is synced.
    def own_file
      { adapter: 'sqlite', database: '/srv/data/guestbook.sqlite', timeout: 20_000, synchronous: :full,
        after_connect: ->(connection) { connection.execute_batch('PRAGMA journal_mode = TRUNCATE') } }
    end

    def plain(text)
      content_type 'text/plain', charset: 'utf-8'
      cache_control :no_store
      text
    end
  end

  error Sequel::Error do
    status 503
    plain "the guestbook cannot write or read now: #{env['sinatra.error'].message}\n"
  end

  get('/alive') { plain "ok\n" }
  get('/health') { plain "ok #{entries.count}\n" }
  get('/list') { plain entries.order(:number).select_map(:name).map { |name| "#{name}\n" }.join }

  get '/' do
    content_type 'text/html', charset: 'utf-8'
    erb :page, locals: { count: entries.count, newest: entries.reverse(:number).limit(50).all }
  end

  post '/append' do
    name = params['id'] || SecureRandom.hex(6)
    halt 400, plain("the field id must be 1 to 100 printable characters without spaces\n") unless name.match?(/\A[!-~]{1,100}\z/)
    begin
      entries.insert(name: name, text: params['text'].to_s[0, 2000], at: Time.now.utc)
    rescue Sequel::UniqueConstraintViolation
      # by a writer that saw no answer and asks again
    end
    params['id'] ? plain("ok #{name} #{entries.count}\n") : redirect('/', 303)
  end
end
