<?php
/*
 * A guestbook that keeps its word: "ok" is said after the entry is on disk. It writes into the database that the site was
 * made with, else into one of its own. With synchronous=FULL alone that would not keep it: SQLite commits by deleting its
 * journal, does not sync that, and rolls the entry back when a power cut follows closely. A truncated journal is synced.
 */
declare(strict_types=1);

const DATABASE = '/srv/data/guestbook.sqlite';
const MAX_ID = 100;
const MAX_TEXT = 2000;

function database(): PDO
{
    static $db = null;
    return $db ??= getenv('DATABASE_HOST') ? database_beside() : database_of_its_own();
}

function database_beside(): PDO
{
    $where = sprintf('mysql:host=%s;port=%s;dbname=%s;charset=utf8mb4',
        getenv('DATABASE_HOST'), getenv('DATABASE_PORT'), getenv('DATABASE_NAME'));
    $db = new PDO($where, getenv('DATABASE_USER'), getenv('DATABASE_PASSWORD'),
        [PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION, PDO::ATTR_TIMEOUT => 10]);
    $db->exec('CREATE TABLE IF NOT EXISTS entry (number INTEGER PRIMARY KEY AUTO_INCREMENT,
               id VARCHAR(100) CHARACTER SET ascii COLLATE ascii_bin NOT NULL UNIQUE,
               text TEXT NOT NULL, at INTEGER NOT NULL)');
    return $db;
}

function database_of_its_own(): PDO
{
    $db = new PDO('sqlite:' . DATABASE, null, null, [PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION]);
    $db->exec('PRAGMA busy_timeout = 20000');
    $db->exec('PRAGMA journal_mode = TRUNCATE');
    $db->exec('PRAGMA synchronous = FULL');
    if ((int) $db->query('PRAGMA user_version')->fetchColumn() < 1) {
        $db->exec('BEGIN IMMEDIATE');
        $db->exec('CREATE TABLE IF NOT EXISTS entry (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE,
                   text TEXT NOT NULL, at INTEGER NOT NULL)');
        $db->exec('PRAGMA user_version = 1');
        $db->exec('COMMIT');
    }
    return $db;
}

/** Write an entry; the same id twice is one entry, so a writer that saw no answer may ask again. */
function append(string $id, string $text): int
{
    $db = database();
    $own = $db->getAttribute(PDO::ATTR_DRIVER_NAME) === 'sqlite';
    $db->exec($own ? 'BEGIN IMMEDIATE' : 'BEGIN');
    $db->prepare('INSERT ' . ($own ? 'OR ' : '') . 'IGNORE INTO entry (id, text, at) VALUES (?, ?, ?)')->execute([$id, $text, time()]);
    $count = (int) $db->query('SELECT count(*) FROM entry')->fetchColumn();
    $db->exec('COMMIT');
    return $count;
}

function plain(int $status, string $text): void
{
    http_response_code($status);
    header('Content-Type: text/plain; charset=utf-8');
    header('Cache-Control: no-store');
    header('Content-Length: ' . strlen($text));
    echo $text;
}

function answer_append(): void
{
    $text = trim((string) ($_POST['text'] ?? ''));
    $by_form = isset($_POST['by_form']);
    $id = (string) ($_POST['id'] ?? ($by_form ? bin2hex(random_bytes(6)) : ''));
    if ($id === '' || strlen($id) > MAX_ID || !preg_match('/^[\x21-\x7e]+$/D', $id)) {
        plain(400, "the field id must be 1 to " . MAX_ID . " printable characters without spaces\n");
    } elseif (strlen($text) > MAX_TEXT || !preg_match('//u', $text)) {
        plain(400, "the field text must be UTF-8 of at most " . MAX_TEXT . " bytes\n");
    } elseif ($by_form && $text === '') {
        header('Location: /', true, 303);
    } else {
        $count = append($id, $text);
        $by_form ? header('Location: /', true, 303) : plain(200, "ok $id $count " . getenv('HYBRID_CLAIM') . "\n");
    }
}

function page(): void
{
    $db = database();
    $count = (int) $db->query('SELECT count(*) FROM entry')->fetchColumn();
    $entries = $db->query('SELECT id, text, at FROM entry ORDER BY number DESC LIMIT 50')->fetchAll(PDO::FETCH_ASSOC);
    $safe = fn (string $text): string => htmlspecialchars($text, ENT_QUOTES | ENT_SUBSTITUTE);
    header('Content-Type: text/html; charset=utf-8');
    header('Cache-Control: no-store');
    require __DIR__ . '/../page.php';
}

try {
    $path = parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH);
    $reads = in_array($_SERVER['REQUEST_METHOD'], ['GET', 'HEAD'], true);
    match (true) {
        $path === '/' && $reads => page(),
        $path === '/append' && $_SERVER['REQUEST_METHOD'] === 'POST' => answer_append(),
        $path === '/list' && $reads =>
            plain(200, implode('', array_map(fn (string $id): string => "$id\n",
                database()->query('SELECT id FROM entry ORDER BY number')->fetchAll(PDO::FETCH_COLUMN)))),
        $path === '/health' && $reads => plain(200, 'ok ' . database()->query('SELECT count(*) FROM entry')
            ->fetchColumn() . "\n"),
        in_array($path, ['/', '/append', '/list', '/health'], true) => plain(405, "not that method here\n"),
        default => plain(404, "no such page\n"),
    };
} catch (PDOException $error) {
    error_log('guestbook: ' . $error->getMessage());
    plain(503, "the guestbook cannot write or read now: " . $error->getMessage() . "\n");
}
