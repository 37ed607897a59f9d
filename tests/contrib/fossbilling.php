<?php
// Calls one method of the FOSSBilling server manager, as FOSSBilling would: `php fossbilling.php CLASS METHOD < input.json`.
class Server_Exception extends Exception
{
    public function __construct(string $message, array $values = [])
    {
        parent::__construct(strtr($message, $values));
    }
}

class Server_Client
{
    public function getEmail(): string
    {
        return 'a@acme.test';
    }
}

class Server_Package
{
    public function __construct(private string $name)
    {
    }

    public function getName(): string
    {
        return $this->name;
    }

    public function getCustomValue(string $name): ?string
    {
        return null;
    }
}

class Server_Account
{
    public bool $suspended = false;

    public function __construct(private string $package)
    {
    }

    public function getUsername(): string
    {
        return 'Acme';
    }

    public function getDomain(): string
    {
        return 'Acme.test';
    }

    public function getPackage(): Server_Package
    {
        return new Server_Package($this->package);
    }

    public function getClient(): Server_Client
    {
        return new Server_Client();
    }

    public function setSuspended(bool $suspended): void
    {
        $this->suspended = $suspended;
    }
}

abstract class Server_Manager
{
    public function __construct(protected array $_config)
    {
    }

    abstract public function getLoginUrl(?Server_Account $account): string;
    abstract public function getResellerLoginUrl(?Server_Account $account): string;
    abstract public function testConnection(): bool;
    abstract public function synchronizeAccount(Server_Account $account): Server_Account;
    abstract public function createAccount(Server_Account $account): bool;
    abstract public function suspendAccount(Server_Account $account): bool;
    abstract public function unsuspendAccount(Server_Account $account): bool;
    abstract public function cancelAccount(Server_Account $account): bool;
    abstract public function changeAccountPassword(Server_Account $account, string $newPassword): bool;
    abstract public function changeAccountUsername(Server_Account $account, string $newUsername): bool;
    abstract public function changeAccountDomain(Server_Account $account, string $newDomain): bool;
    abstract public function changeAccountIp(Server_Account $account, string $newIp): bool;
    abstract public function changeAccountPackage(Server_Account $account, Server_Package $package): bool;
}

require $argv[1];
$input = json_decode(stream_get_contents(STDIN), true);
$manager = new Server_Manager_Hybrid($input['config']);
$account = new Server_Account($input['package'] ?? 'small');
$more = match ($argv[2]) {
    'changeAccountPackage' => [new Server_Package($input['to'])],
    'changeAccountDomain', 'changeAccountPassword' => [$input['to']],
    default => [],
};
try {
    $result = $argv[2] === 'testConnection' ? $manager->testConnection() : $manager->{$argv[2]}($account, ...$more);
    echo json_encode(['result' => $result instanceof Server_Account ? ['suspended' => $result->suspended] : $result]);
} catch (Server_Exception $exception) {
    echo json_encode(['error' => $exception->getMessage()]);
}
