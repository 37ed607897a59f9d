'use strict'
// A guestbook that keeps its entries in a file, a line of JSON each: "ok" is said after a line is on disk. The same name
// twice is one entry. A last line that a power cut left half written is cut off at the next start.

const crypto = require('node:crypto')
const fs = require('node:fs')
const http = require('node:http')

const FILE = '/srv/data/entries.jsonl'
const MAX_BODY = 10000
const entries = new Map()

function load() {
  const file = fs.openSync(FILE, 'a+')
  const text = fs.readFileSync(FILE, 'utf8')
  const whole = text.slice(0, text.lastIndexOf('\n') + 1)
  if (whole.length !== text.length) fs.truncateSync(FILE, Buffer.byteLength(whole))
  for (const line of whole.split('\n').filter(Boolean)) {
    const entry = JSON.parse(line)
    entries.set(entry.id, entry)
  }
  return file
}

const file = load()

function append(id, text) {
  if (entries.has(id)) return
  const entry = { id, text, at: new Date().toISOString() }
  fs.writeSync(file, JSON.stringify(entry) + '\n')
  fs.fsyncSync(file)
  entries.set(id, entry)
}

function plain(response, status, text) {
  response.writeHead(status, { 'Content-Type': 'text/plain; charset=utf-8', 'Cache-Control': 'no-store' })
  response.end(text)
}

const escaped = (text) => text.replace(/[&<>"']/g, (sign) => `&#${sign.charCodeAt(0)};`)

function page(response) {
  const newest = [...entries.values()].slice(-50).reverse()
  response.writeHead(200, { 'Content-Type': 'text/html; charset=utf-8', 'Cache-Control': 'no-store' })
  response.end(`<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Guestbook</title>
<style>body { font: 1.05rem/1.55 system-ui, sans-serif; max-width: 40rem; margin: 8vh auto; padding: 0 1.5rem }</style>
<h1>Guestbook</h1>
<p>${entries.size} ${entries.size === 1 ? 'entry' : 'entries'}, kept by Node.js</p>
<form method="post" action="/append"><input name="text" maxlength="500" aria-label="Say something" required> <button>Sign</button></form>
<ol>${newest.map((entry) => `<li>${escaped(entry.text)}</li>`).join('')}</ol>
</html>
`)
}

function answerAppend(response, body) {
  const form = new URLSearchParams(body)
  const id = form.get('id') ?? crypto.randomBytes(6).toString('hex')
  if (!/^[!-~]{1,100}$/.test(id)) {
    return plain(response, 400, 'the field id must be 1 to 100 printable characters without spaces\n')
  }
  append(id, (form.get('text') ?? '').slice(0, 2000))
  if (form.has('id')) return plain(response, 200, `ok ${id} ${entries.size}\n`)
  response.writeHead(303, { Location: '/' })
  response.end()
}

function answer(request, response, body) {
  const path = request.url.split('?')[0]
  const reads = request.method === 'GET' || request.method === 'HEAD'
  if (path === '/' && reads) return page(response)
  if (path === '/list' && reads) return plain(response, 200, [...entries.keys()].map((id) => id + '\n').join(''))
  if (path === '/health' && reads) return plain(response, 200, `ok ${entries.size}\n`)
  if (path === '/append' && request.method === 'POST') return answerAppend(response, body)
  plain(response, ['/', '/list', '/health', '/append'].includes(path) ? 405 : 404, 'no such page\n')
}

const server = http.createServer((request, response) => {
  const parts = []
  let size = 0
  request.on('data', (part) => {
    size += part.length
    if (size <= MAX_BODY) parts.push(part)
  })
  request.on('end', () => {
    try {
      if (size > MAX_BODY) plain(response, 413, 'that is too long\n')
      else answer(request, response, Buffer.concat(parts).toString('utf8'))
    } catch (error) {
      console.error(error)
      if (!response.headersSent) plain(response, 503, `the guestbook cannot write or read now: ${error.message}\n`)
    }
  })
})

server.listen(8000, '0.0.0.0')
for (const signal of ['SIGTERM', 'SIGINT']) process.on(signal, () => process.exit(0))
