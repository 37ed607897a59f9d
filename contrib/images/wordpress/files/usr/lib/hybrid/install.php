<?php
/* Makes the blog, with an administrator and a first post, unless the database has one; prints `installed`. */
declare(strict_types=1);
$name = getenv('HYBRID_SITE') ?: 'blog';
$_SERVER['HTTP_HOST'] = $name;
$_SERVER['REQUEST_URI'] = '/';
define('WP_INSTALLING', true);

/** WordPress's own would write a letter to the administrator, with no mail server to give it to. */
function wp_new_blog_notification(...$unused): void
{
}

mysqli_report(MYSQLI_REPORT_OFF);
$asked = mysqli_init();
$asked->options(MYSQLI_OPT_CONNECT_TIMEOUT, 10);
if (!@$asked->real_connect(getenv('DATABASE_HOST'), getenv('DATABASE_USER'), getenv('DATABASE_PASSWORD'),
    getenv('DATABASE_NAME'), (int) getenv('DATABASE_PORT'))) {
    exit('the database does not answer: ' . mysqli_connect_error() . "\n");
}
$asked->close();

require '/usr/share/wordpress/wp-load.php';
require ABSPATH . 'wp-admin/includes/upgrade.php';
/* It would try its own pages, which are not served yet. */
add_filter('pre_http_request', fn () => new WP_Error('closed', 'not served yet'));
if (!is_blog_installed() || !username_exists('admin')) {
    wp_install($name, 'admin', 'admin@example.org', true, '', getenv('ADMIN_PASSWORD'));
}
echo is_blog_installed() ? "installed\n" : "the blog could not be made\n";
