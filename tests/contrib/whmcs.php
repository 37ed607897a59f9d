<?php
// Calls one function of the WHMCS module, as WHMCS would: `php whmcs.php MODULE FUNCTION < params.json`.
namespace WHMCS\Database {
    /** Remembers what is written to tables. */
    class Capsule
    {
        public static array $written = [];
        private array $where = [];

        public static function table(string $name): self
        {
            return new self();
        }

        public function where(string $field, $value): self
        {
            $this->where[$field] = $value;
            return $this;
        }

        public function update(array $values): void
        {
            self::$written[] = ['where' => $this->where, 'values' => $values];
        }
    }
}

namespace {
    define('WHMCS', true);
    $logged = [];
    function logModuleCall($module, $action, $request, $response, $processed, $hidden): void
    {
        global $logged;
        $logged[] = [$action, $request, $response];
    }

    require $argv[1];
    $params = json_decode(stream_get_contents(STDIN), true);
    $result = ('hybrid_' . $argv[2])($params);
    echo json_encode(['result' => $result, 'logged' => $logged, 'written' => \WHMCS\Database\Capsule::$written]);
}
