package servers

import (
	"context"
	"database/sql"
	"fmt"
	"hash/crc32"
	"net/http"
	"strings"

	"github.com/go-sql-driver/mysql"
)

// recipe is what it takes to run a kind of server, in a container and as a process alike.
type recipe struct {
	name string
	// port is where it listens in a container.
	port int
	// kept names what the server makes of an empty folder, which is made once and copied from then on; empty where it is
	// made for each. Another command makes something else.
	kept string
	// command is the program and its arguments; args come from the test.
	command func(at place, args []string) []string
	// env is its environment.
	env func(at place, password string) map[string]string
	// ready returns nil when the server answers.
	ready func(ctx context.Context, r *running) error
}

// place is where a server finds itself.
type place struct {
	address string // to listen on, without the port
	port    int
	data    string // a folder for its data, which exists with nothing in it, or does not exist
	made    string // where what it makes of such a folder is kept, or will be; empty for nowhere
}

// Both databases make their data when there is none, and then become the server. Small
// and without the flushes that only a failure of power needs: what was committed
// survives a kill. What MySQL makes takes it seconds, and is the same each time but for its identity.
const (
	mysqlScript = `set -e
if [ ! -d "$DATA/mysql" ] && [ -d "$MADE/mysql" ]; then
	mkdir -p "$DATA"
	cp -R "$MADE/." "$DATA"
elif [ ! -d "$DATA/mysql" ]; then
	mysqld --no-defaults --initialize-insecure --user=root --datadir="$DATA" --innodb-flush-method=nosync \
		--innodb-doublewrite=OFF --loose-innodb-redo-log-capacity=8M
	rm -f "$DATA/auto.cnf"
	# Under its name is only what is whole, and of several that make it at once that of the first.
	if [ "$MADE" ] && new=$(mktemp -d "$MADE-XXXXXX"); then
		cp -R "$DATA/." "$new" && mv -T "$new" "$MADE" 2>/dev/null || rm -rf "$new"
	fi
fi
printf '%s' "$INIT_SQL" >"$DATA/init.sql"
exec mysqld --no-defaults --user=root --datadir="$DATA" --socket="$DATA/sock" --pid-file="$DATA/pid" \
	--init-file="$DATA/init.sql" --mysqlx=OFF --secure-file-priv= --tmpdir="$DATA" "$@"
`
	mariadbScript = `set -e
if [ ! -d "$DATA/mysql" ]; then
	mariadb-install-db --no-defaults --user=root --datadir="$DATA" --auth-root-authentication-method=normal \
		--skip-test-db --skip-name-resolve
fi
printf '%s' "$INIT_SQL" >"$DATA/init.sql"
exec mariadbd --no-defaults --user=root --datadir="$DATA" --socket="$DATA/sock" --pid-file="$DATA/pid" \
	--init-file="$DATA/init.sql" --tmpdir="$DATA" "$@"
`
)

var databaseArgs = []string{
	"--skip-name-resolve", "--default-time-zone=+00:00", "--local-infile=1", "--character-set-server=utf8mb4",
	"--innodb-buffer-pool-size=64M", "--innodb-flush-log-at-trx-commit=2", "--innodb-flush-method=nosync",
	"--innodb-doublewrite=0", "--skip-log-bin", "--performance-schema=OFF", "--max-allowed-packet=1G",
	"--max-connections=500", // tests beside each other share a server, which reaps closed connections late when it has much to do
}

func databaseCommand(script string) func(place, []string) []string {
	return func(at place, args []string) []string {
		all := append([]string{"sh", "-c", script, "sh", "--bind-address=" + at.address, fmt.Sprintf("--port=%d", at.port)}, databaseArgs...)
		return append(all, args...)
	}
}

// The password has neither quote nor backslash.
func databaseEnv(at place, password string) map[string]string {
	return map[string]string{"DATA": at.data, "MADE": at.made, "INIT_SQL": "ALTER USER 'root'@'localhost' IDENTIFIED BY '" + password + "';\n" +
		"CREATE USER IF NOT EXISTS 'root'@'%' IDENTIFIED BY '" + password + "';\n" +
		"GRANT ALL PRIVILEGES ON *.* TO 'root'@'%' WITH GRANT OPTION;\n" +
		// MariaDB's, without a password.
		"DROP USER IF EXISTS 'root'@'127.0.0.1', 'root'@'::1', ''@'localhost';\n"}
}

func databaseReady(ctx context.Context, r *running) error {
	db, err := connect(r, "", "")
	if err != nil {
		return err
	}
	defer db.Close()
	return db.PingContext(ctx)
}

// connect opens a database as root with go-sql-driver. tls is a mode of the driver.
func connect(r *running, database, tls string) (*sql.DB, error) {
	c := mysql.NewConfig()
	c.User, c.Passwd = "root", r.password
	c.Net, c.Addr, c.DBName = "tcp", r.address(), database
	c.TLSConfig, c.Logger = tls, &mysql.NopLogger{}
	if err := c.Apply(mysql.Charset("utf8mb4", "")); err != nil {
		return nil, err
	}
	connector, err := mysql.NewConnector(c)
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(connector), nil
}

var (
	mysqlRecipe = recipe{
		name: "mysql", port: 3306, kept: fmt.Sprintf("%08x", crc32.ChecksumIEEE([]byte(mysqlScript))), command: databaseCommand(mysqlScript), env: databaseEnv, ready: databaseReady,
	}
	mariadbRecipe = recipe{
		name: "mariadb", port: 3306, command: databaseCommand(mariadbScript), env: databaseEnv, ready: databaseReady,
	}
	minioRecipe = recipe{
		name: "minio", port: 9000,
		command: func(at place, args []string) []string {
			return append([]string{"minio", "server", at.data, "--address", fmt.Sprintf("%s:%d", at.address, at.port)}, args...)
		},
		env: func(_ place, password string) map[string]string {
			return map[string]string{
				"MINIO_ROOT_USER": minioUser, "MINIO_ROOT_PASSWORD": password,
				// A key of its own makes server-side encryption work.
				"MINIO_KMS_SECRET_KEY": "tests:" + kmsKey,
				"MINIO_BROWSER":        "off", "MINIO_UPDATE": "off", "HOME": "/tmp",
			}
		},
		ready: func(ctx context.Context, r *running) error {
			request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+r.address()+"/minio/health/ready", nil)
			if err != nil {
				return err
			}
			response, err := http.DefaultClient.Do(request)
			if err != nil {
				return err
			}
			response.Body.Close()
			if response.StatusCode != http.StatusOK {
				return fmt.Errorf("it answers %s", response.Status)
			}
			return nil
		},
	}
)

const (
	minioUser = "tests"
	// kmsKey is 32 bytes in base64, and no secret: it encrypts what tests throw away.
	kmsKey = "bW9zdCBvZiB0aGVzZSBieXRlcyBhcmUgbm8gc2VjcmU="
)

// environ is a map as os/exec wants it.
func environ(env map[string]string) (list []string) {
	for name, value := range env {
		list = append(list, name+"="+value)
	}
	return list
}

// lastLines cuts a log to its end.
func lastLines(text string, n int) string {
	lines := strings.SplitAfter(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "")
}
