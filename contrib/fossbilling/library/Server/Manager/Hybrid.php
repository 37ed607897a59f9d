<?php
/**
 * FOSSBilling server manager for Hybrid clusters: an order is an account with a site of its own.
 *
 * Every call may be repeated: an account is known by its name and the order's domain, and each step carries a key.
 */
class Server_Manager_Hybrid extends Server_Manager
{
    public static function getForm(): array
    {
        return [
            'label' => 'Hybrid',
            'form' => [
                'credentials' => [
                    'fields' => [
                        ['name' => 'accesshash', 'type' => 'password', 'label' => 'Token', 'placeholder' => 'hybpat_…', 'required' => true, 'secret' => true],
                        ['name' => 'ca', 'type' => 'text', 'label' => 'CA certificate', 'placeholder' => '/etc/hybrid/ca.pem', 'required' => true],
                    ],
                ],
            ],
        ];
    }

    public function getLoginUrl(?Server_Account $account): string
    {
        if ($account === null) {
            return $this->getResellerLoginUrl(null);
        }
        return $this->call('POST', $this->path($account, '/links'), ['name' => $this->name($account)])['url'];
    }

    public function getResellerLoginUrl(?Server_Account $account): string
    {
        return 'https://' . $this->host() . ':' . $this->port() . '/';
    }

    public function testConnection(): bool
    {
        $this->call('GET', '/v1/status');
        return true;
    }

    public function synchronizeAccount(Server_Account $account): Server_Account
    {
        $told = $this->call('GET', $this->path($account));
        $new = clone $account;
        $new->setSuspended($told['suspended']);
        return $new;
    }

    public function createAccount(Server_Account $account): bool
    {
        $name = $this->name($account);
        $this->call('POST', '/v1/accounts', [
            'name' => $name,
            'package' => $account->getPackage()->getName(),
            'email' => (string) $account->getClient()->getEmail(),
            'reference' => $this->reference($account),
        ]);
        $site = [
            'name' => $name,
            'image' => (string) ($account->getPackage()->getCustomValue('image') ?: 'php'),
            'account' => $name,
            'domains' => [strtolower($account->getDomain())],
        ];
        try {
            $this->wait($this->call('POST', '/v1/sites', $site, $this->reference($account) . '-site'));
        } catch (Server_Exception $exception) {
            if (!in_array($name, $this->call('GET', $this->path($account))['sites'], true)) {
                throw $exception;
            }
        }
        return true;
    }

    public function suspendAccount(Server_Account $account): bool
    {
        $this->wait($this->call('POST', $this->path($account, '/suspend'), ['reason' => 'suspended by the billing system']));
        return true;
    }

    public function unsuspendAccount(Server_Account $account): bool
    {
        $this->wait($this->call('POST', $this->path($account, '/resume'), []));
        return true;
    }

    public function cancelAccount(Server_Account $account): bool
    {
        $this->wait($this->call('DELETE', $this->path($account)));
        return true;
    }

    public function changeAccountPackage(Server_Account $account, Server_Package $package): bool
    {
        $this->wait($this->call('PATCH', $this->path($account), ['package' => $package->getName()]));
        return true;
    }

    public function changeAccountDomain(Server_Account $account, string $newDomain): bool
    {
        $this->call('PATCH', '/v1/sites/' . rawurlencode($this->name($account)), ['domains' => [strtolower($newDomain)]]);
        return true;
    }

    public function changeAccountPassword(Server_Account $account, string $newPassword): bool
    {
        throw new Server_Exception('Customers of Hybrid sign in from here, without a password');
    }

    public function changeAccountUsername(Server_Account $account, string $newUsername): bool
    {
        throw new Server_Exception('An account of Hybrid keeps its name');
    }

    public function changeAccountIp(Server_Account $account, string $newIp): bool
    {
        throw new Server_Exception('Hybrid chooses addresses itself: any server of the cluster answers for any site');
    }

    private function name(Server_Account $account): string
    {
        return trim(preg_replace('/[^a-z0-9-]+/', '-', strtolower((string) $account->getUsername())), '-');
    }

    private function reference(Server_Account $account): string
    {
        return 'fossbilling-' . $this->name($account) . '-' . strtolower($account->getDomain());
    }

    private function path(Server_Account $account, string $rest = ''): string
    {
        return '/v1/accounts/' . rawurlencode($this->name($account)) . $rest;
    }

    private function host(): string
    {
        return $this->_config['host'] ?: $this->_config['ip'];
    }

    private function port(): int
    {
        return (int) ($this->_config['port'] ?: 8443);
    }

    private function wait(array $operation, int $seconds = 25): array
    {
        $until = time() + $seconds;
        while ($operation['state'] === 'running' && time() < $until) {
            $left = max(1, min(20, $until - time()));
            $operation = $this->call('GET', '/v1/operations/' . rawurlencode($operation['id']) . '?wait=' . $left, null, '', $left + 30);
        }
        if (in_array($operation['state'], ['failed', 'interrupted'], true)) {
            throw new Server_Exception($this->told($operation['error'] ?? ['title' => 'It was interrupted.']));
        }
        return $operation;
    }

    /** One call of the cluster's API; its certificate must be signed by the cluster's CA. */
    private function call(string $method, string $path, ?array $body = null, string $key = '', int $seconds = 30): array
    {
        $headers = ['Authorization: Bearer ' . $this->_config['accesshash'], 'Accept: application/json'];
        if ($key !== '') {
            $headers[] = 'Idempotency-Key: ' . $key;
        }
        $curl = curl_init('https://' . $this->host() . ':' . $this->port() . $path);
        curl_setopt_array($curl, [
            CURLOPT_CUSTOMREQUEST => $method,
            CURLOPT_RETURNTRANSFER => true,
            CURLOPT_CONNECTTIMEOUT => 5,
            CURLOPT_TIMEOUT => $seconds,
            CURLOPT_CAINFO => $this->_config['ca'],
            CURLOPT_SSL_VERIFYPEER => true,
            CURLOPT_SSL_VERIFYHOST => 2,
        ]);
        if ($body !== null) {
            $headers[] = 'Content-Type: application/json';
            curl_setopt($curl, CURLOPT_POSTFIELDS, json_encode((object) $body));
        }
        curl_setopt($curl, CURLOPT_HTTPHEADER, $headers);
        $answer = curl_exec($curl);
        $status = (int) curl_getinfo($curl, CURLINFO_RESPONSE_CODE);
        $error = curl_error($curl);
        curl_close($curl);
        if ($answer === false) {
            throw new Server_Exception('The cluster cannot be reached: :error', [':error' => $error]);
        }
        $told = $answer === '' ? [] : json_decode((string) $answer, true);
        if (!is_array($told) || $status >= 400) {
            throw new Server_Exception($this->told(is_array($told) ? $told : ['title' => "No JSON came (status $status)"]));
        }
        return $told;
    }

    private function told(array $problem): string
    {
        return implode(' – ', array_filter([$problem['title'] ?? 'It failed', $problem['detail'] ?? '', $problem['hint'] ?? '']));
    }
}
