{if $error}
<div class="alert alert-warning">{$error|escape}</div>
{elseif $account}
<dl>
  <dt>Websites</dt>
  <dd>{foreach $account.domains as $domain}<a href="http://{$domain|escape}/">{$domain|escape}</a> {/foreach}</dd>
  <dt>Data</dt>
  <dd>{$data} MB</dd>
</dl>
<p><a class="btn btn-primary" href="clientarea.php?action=productdetails&amp;id={$serviceid}&amp;dosinglesignon=1">Open the time machine</a></p>
{/if}
