<?php
/* Of this site: its database as it was told when it was made, keys from its own secret, the name it was asked by. */
define('DB_NAME', getenv('DATABASE_NAME'));
define('DB_USER', getenv('DATABASE_USER'));
define('DB_PASSWORD', getenv('DATABASE_PASSWORD'));
define('DB_HOST', getenv('DATABASE_HOST') . ':' . getenv('DATABASE_PORT'));
define('DB_CHARSET', 'utf8mb4');

$site_secret = getenv('HYBRID_SECRET') ?: bin2hex(random_bytes(32));
foreach (['AUTH', 'SECURE_AUTH', 'LOGGED_IN', 'NONCE'] as $site_use) {
    define("{$site_use}_KEY", hash_hmac('sha512', "{$site_use}_KEY", $site_secret));
    define("{$site_use}_SALT", hash_hmac('sha512', "{$site_use}_SALT", $site_secret));
}

/* The front doors let only names of this site through. */
$site_host = preg_replace('/[^a-z0-9.:-]/', '', strtolower($_SERVER['HTTP_HOST'] ?? ''));
define('WP_HOME', (($_SERVER['HTTP_X_FORWARDED_PROTO'] ?? '') === 'https' ? 'https://' : 'http://') . $site_host);
define('WP_SITEURL', WP_HOME);
define('FS_METHOD', 'direct');
define('WP_ALLOW_MULTISITE', false);
define('DISALLOW_FILE_EDIT', true);
