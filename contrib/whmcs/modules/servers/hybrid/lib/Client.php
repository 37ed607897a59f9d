<?php
namespace WHMCS\Module\Server\Hybrid;

/** What went wrong, in words for people: what, why, what to try. */
class Failure extends \Exception
{
    public int $status;
    public string $problem;

    public function __construct(string $message, int $status = 0, string $problem = '')
    {
        parent::__construct($message);
        $this->status = $status;
        $this->problem = $problem;
    }
}

/**
 * Calls of the REST API of a Hybrid cluster; any of its nodes answers any call.
 *
 * The nodes' certificates are signed by the cluster's own CA, so its certificate is needed (`ca.pem` beside the module,
 * from a node's admin.json). Without it nothing is sent: a token is not given to whoever answers.
 */
class Client
{
    /** @var string[] */
    private array $hosts;
    private int $port;
    private string $token;
    private string $ca;

    /** @param string[] $hosts Addresses of nodes, tried in turn. */
    public function __construct(array $hosts, int $port, string $token, string $ca)
    {
        $this->hosts = array_values(array_filter($hosts));
        $this->port = $port;
        $this->token = $token;
        $this->ca = $ca;
        if (!$this->hosts) {
            throw new Failure('No host name or IP address of a node is set for this server.');
        }
        if (!is_readable($ca)) {
            throw new Failure("The cluster's CA certificate is missing at $ca: copy it from a node's admin.json.");
        }
    }

    /** @param array<string,mixed>|null $body @return array<string,mixed> */
    public function call(string $method, string $path, ?array $body = null, string $key = '', int $seconds = 30): array
    {
        $last = null;
        foreach ($this->hosts as $host) {
            try {
                return $this->once($host, $method, $path, $body, $key, $seconds);
            } catch (Failure $failure) {
                $last = $failure;
                if ($failure->status !== 0) {
                    throw $failure;
                }
            }
        }
        throw $last;
    }

    /**
     * Waits for an operation, so long as a panel's page may take.
     *
     * @param array<string,mixed> $operation
     * @return array<string,mixed>
     */
    public function wait(array $operation, int $seconds = 25): array
    {
        $until = time() + $seconds;
        while ($operation['state'] === 'running' && time() < $until) {
            $left = max(1, min(20, $until - time()));
            $path = '/v1/operations/' . rawurlencode($operation['id']) . '?wait=' . $left;
            $operation = $this->call('GET', $path, null, '', $left + 30);
        }
        if (in_array($operation['state'], ['failed', 'interrupted'], true)) {
            throw new Failure($this->told($operation['error'] ?? ['title' => 'It was interrupted.']));
        }
        return $operation;
    }

    /** @param array<string,mixed>|null $body @return array<string,mixed> */
    private function once(string $host, string $method, string $path, ?array $body, string $key, int $seconds): array
    {
        $headers = ['Authorization: Bearer ' . $this->token, 'Accept: application/json'];
        if ($key !== '') {
            $headers[] = 'Idempotency-Key: ' . $key;
        }
        $curl = curl_init('https://' . $host . ':' . $this->port . $path);
        curl_setopt_array($curl, [
            CURLOPT_CUSTOMREQUEST => $method,
            CURLOPT_RETURNTRANSFER => true,
            CURLOPT_CONNECTTIMEOUT => 5,
            CURLOPT_TIMEOUT => $seconds,
            CURLOPT_CAINFO => $this->ca,
            CURLOPT_SSL_VERIFYPEER => true,
            CURLOPT_SSL_VERIFYHOST => 2,
            CURLOPT_FOLLOWLOCATION => false,
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
            throw new Failure("$host cannot be reached: $error");
        }
        $told = $answer === '' ? [] : json_decode((string) $answer, true);
        if (!is_array($told)) {
            throw new Failure("$host answered what is no JSON (status $status).", $status);
        }
        if ($status >= 400) {
            throw new Failure($this->told($told), $status, (string) ($told['code'] ?? ''));
        }
        return $told;
    }

    /** @param array<string,mixed> $problem As RFC 9457 has it. */
    private function told(array $problem): string
    {
        $parts = [$problem['title'] ?? 'It failed.', $problem['detail'] ?? '', $problem['hint'] ?? ''];
        return implode(' – ', array_filter($parts));
    }
}
