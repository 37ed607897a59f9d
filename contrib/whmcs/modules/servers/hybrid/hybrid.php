<?php
/**
 * WHMCS provisioning module for Hybrid clusters: a service is an account with a site of its own.
 *
 * Every call may be repeated: an account is known by its service id, and each step carries a key of its own.
 */

if (!defined('WHMCS')) {
    die('This file cannot be accessed directly');
}

require_once __DIR__ . '/lib/Client.php';

use WHMCS\Module\Server\Hybrid\Client;
use WHMCS\Module\Server\Hybrid\Failure;

function hybrid_MetaData(): array
{
    return [
        'DisplayName' => 'Hybrid',
        'APIVersion' => '1.1',
        'RequiresServer' => true,
        'DefaultNonSSLPort' => '8443',
        'DefaultSSLPort' => '8443',
        'ServiceSingleSignOnLabel' => 'Open the time machine',
        'AdminSingleSignOnLabel' => 'Open the cluster',
        'ListAccountsUniqueIdentifierDisplayName' => 'Account',
        'ListAccountsUniqueIdentifierField' => 'username',
        'ListAccountsProductField' => 'configoption1',
    ];
}

function hybrid_ConfigOptions(): array
{
    return [
        'Package' => ['Type' => 'text', 'Size' => '25', 'Description' => 'Its name in the cluster', 'Loader' => 'hybrid_packages', 'SimpleMode' => true],
        'Image' => ['Type' => 'text', 'Size' => '25', 'Default' => 'php', 'Description' => 'What its site is made from', 'SimpleMode' => true],
    ];
}

/** Names for the field `Package`. */
function hybrid_packages(array $params): array
{
    $names = [];
    foreach (hybrid_client($params)->call('GET', '/v1/packages')['items'] as $package) {
        $names[$package['name']] = $package['name'];
    }
    return $names;
}

function hybrid_CreateAccount(array $params): string
{
    return hybrid_attempt('CreateAccount', $params, function (Client $client) use ($params) {
        $account = hybrid_account($params);
        $client->call('POST', '/v1/accounts', [
            'name' => $account,
            'package' => (string) ($params['configoption1'] ?? ''),
            'email' => (string) ($params['clientsdetails']['email'] ?? ''),
            'reference' => hybrid_reference($params),
        ]);
        $site = ['name' => $account, 'image' => ($params['configoption2'] ?? '') ?: 'php', 'account' => $account];
        if (!empty($params['domain'])) {
            $site['domains'] = [strtolower($params['domain'])];
        }
        try {
            $client->wait($client->call('POST', '/v1/sites', $site, hybrid_reference($params) . '-site'));
        } catch (Failure $failure) {
            if ($failure->status !== 409 || !hybrid_has_site($client, $account)) {
                throw $failure;
            }
        }
    });
}

function hybrid_SuspendAccount(array $params): string
{
    return hybrid_attempt('SuspendAccount', $params, function (Client $client) use ($params) {
        $reason = (string) ($params['suspendreason'] ?? '') ?: 'suspended by the billing system';
        $client->wait($client->call('POST', hybrid_path($params, '/suspend'), ['reason' => $reason]));
    });
}

function hybrid_UnsuspendAccount(array $params): string
{
    return hybrid_attempt('UnsuspendAccount', $params, function (Client $client) use ($params) {
        $client->wait($client->call('POST', hybrid_path($params, '/resume'), []));
    });
}

function hybrid_TerminateAccount(array $params): string
{
    return hybrid_attempt('TerminateAccount', $params, function (Client $client) use ($params) {
        try {
            $client->wait($client->call('DELETE', hybrid_path($params)));
        } catch (Failure $failure) {
            if ($failure->status !== 404) {
                throw $failure;
            }
        }
    });
}

function hybrid_ChangePackage(array $params): string
{
    return hybrid_attempt('ChangePackage', $params, function (Client $client) use ($params) {
        $body = ['package' => (string) ($params['configoption1'] ?? '')];
        $client->wait($client->call('PATCH', hybrid_path($params), $body));
    });
}

function hybrid_TestConnection(array $params): array
{
    try {
        hybrid_client($params)->call('GET', '/v1/status');
        return ['success' => true, 'error' => ''];
    } catch (Failure $failure) {
        return ['success' => false, 'error' => $failure->getMessage()];
    }
}

/** Once a day for all services of a server: one question to the cluster. */
function hybrid_UsageUpdate(array $params): void
{
    foreach (hybrid_client($params)->call('GET', '/v1/accounts')['items'] as $account) {
        \WHMCS\Database\Capsule::table('tblhosting')
            ->where('server', $params['serverid'])
            ->where('username', $account['name'])
            ->update([
                'diskusage' => hybrid_megabytes($account['data_bytes']),
                'disklimit' => hybrid_megabytes($account['quota_bytes']),
                'lastupdate' => date('Y-m-d H:i:s'),
            ]);
    }
}

function hybrid_ListAccounts(array $params): array
{
    try {
        $accounts = [];
        foreach (hybrid_client($params)->call('GET', '/v1/accounts')['items'] as $account) {
            $accounts[] = [
                'email' => $account['email'],
                'username' => $account['name'],
                'domain' => $account['domains'][0] ?? '',
                'uniqueIdentifier' => $account['name'],
                'product' => $account['package'],
                'primaryip' => '',
                'created' => date('Y-m-d H:i:s', strtotime($account['created_at'])),
                'status' => $account['suspended'] ? 'Suspended' : 'Active',
            ];
        }
        return ['success' => true, 'accounts' => $accounts];
    } catch (Failure $failure) {
        return ['success' => false, 'error' => $failure->getMessage()];
    }
}

function hybrid_ServiceSingleSignOn(array $params): array
{
    try {
        $client = $params['clientsdetails'] ?? [];
        $name = trim(($client['firstname'] ?? '') . ' ' . ($client['lastname'] ?? ''));
        $link = hybrid_client($params)->call('POST', hybrid_path($params, '/links'), ['name' => substr($name, 0, 64)]);
        return ['success' => true, 'redirectTo' => $link['url']];
    } catch (Failure $failure) {
        return ['success' => false, 'errorMsg' => $failure->getMessage()];
    }
}

function hybrid_AdminSingleSignOn(array $params): array
{
    $host = $params['serverhostname'] ?: $params['serverip'];
    return ['success' => true, 'redirectTo' => "https://$host:" . hybrid_port($params) . '/'];
}

function hybrid_ClientArea(array $params): array
{
    try {
        $account = hybrid_client($params)->call('GET', hybrid_path($params));
        $told = ['account' => $account, 'data' => hybrid_megabytes($account['data_bytes']), 'error' => ''];
    } catch (Failure $failure) {
        $told = ['account' => null, 'data' => 0, 'error' => $failure->getMessage()];
    }
    return ['tabOverviewModuleOutputTemplate' => 'templates/clientarea.tpl', 'templateVariables' => $told];
}

/** Runs `$deed` with a client; what WHMCS wants to hear: `success`, or why not. */
function hybrid_attempt(string $name, array $params, callable $deed): string
{
    try {
        $deed(hybrid_client($params));
        $result = 'success';
    } catch (Failure $failure) {
        $result = $failure->getMessage();
    }
    logModuleCall('hybrid', $name, hybrid_account($params), $result, '', [$params['serveraccesshash'] ?? '', $params['serverpassword'] ?? '']);
    return $result;
}

function hybrid_client(array $params): Client
{
    $token = trim(($params['serveraccesshash'] ?? '') ?: ($params['serverpassword'] ?? ''));
    return new Client([$params['serverhostname'] ?? '', $params['serverip'] ?? ''], hybrid_port($params), $token, hybrid_ca($params));
}

function hybrid_ca(array $params): string
{
    return getenv('HYBRID_CA') ?: __DIR__ . '/ca.pem';
}

function hybrid_port(array $params): int
{
    return (int) (($params['serverport'] ?? '') ?: 8443);
}

function hybrid_reference(array $params): string
{
    return 'whmcs-' . (int) ($params['serviceid'] ?? 0);
}

/** The account's name: what WHMCS calls the service's user, as the cluster allows it. */
function hybrid_account(array $params): string
{
    $name = preg_replace('/[^a-z0-9-]+/', '-', strtolower((string) ($params['username'] ?? '')));
    return trim($name, '-') ?: 'service-' . (int) ($params['serviceid'] ?? 0);
}

function hybrid_path(array $params, string $rest = ''): string
{
    return '/v1/accounts/' . rawurlencode(hybrid_account($params)) . $rest;
}

function hybrid_has_site(Client $client, string $account): bool
{
    return in_array($account, $client->call('GET', '/v1/accounts/' . rawurlencode($account))['sites'], true);
}

function hybrid_megabytes(?int $bytes): int
{
    return $bytes === null ? 0 : (int) ceil($bytes / 1048576);
}
