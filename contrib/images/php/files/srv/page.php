<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Guestbook</title>
<style>
  :root { color-scheme: light dark; --soft: color-mix(in srgb, currentColor 55%, transparent) }
  body { font: 1.05rem/1.55 system-ui, sans-serif; max-width: 40rem; margin: 8vh auto; padding: 0 1.5rem }
  h1 { font-weight: 650; letter-spacing: -.02em; margin: 0 }
  header p { margin: .2rem 0 2rem; color: var(--soft) }
  form { display: flex; gap: .6rem; margin-bottom: 2rem }
  input { flex: 1; font: inherit; padding: .6rem .8rem; border: 1px solid var(--soft); border-radius: .5rem }
  button { font: inherit; padding: .6rem 1.1rem; border: 0; border-radius: .5rem; background: #2563eb; color: white }
  ol { list-style: none; padding: 0; margin: 0 }
  li { padding: .7rem 0; border-top: 1px solid color-mix(in srgb, currentColor 15%, transparent) }
  small { display: block; color: var(--soft); font-variant-numeric: tabular-nums }
  code { font-size: .95em }
</style>
<header>
  <h1>Guestbook</h1>
  <p><?= $count ?> <?= $count === 1 ? 'entry' : 'entries' ?>, served by <?= $safe(gethostname()) ?></p>
</header>
<form method="post" action="/append">
  <input type="hidden" name="by_form" value="1">
  <input name="text" maxlength="500" placeholder="Say something" aria-label="Say something" required autofocus>
  <button>Sign</button>
</form>
<ol>
<?php foreach ($entries as $entry): ?>
  <li><?= $entry['text'] !== '' ? $safe($entry['text']) : '<code>' . $safe($entry['id']) . '</code>' ?>
    <small><time datetime="<?= gmdate('c', (int) $entry['at']) ?>"><?= gmdate('j F Y, H:i:s', (int) $entry['at']) ?></time></small></li>
<?php endforeach ?>
</ol>
</html>
