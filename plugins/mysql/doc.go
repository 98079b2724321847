// Package mysql is the source that reads rows from MySQL and MariaDB servers,
// straight from wire packets into Arrow arrays.
//
// It owns the connection with its login (go-mysql computes what is answered), the
// statement, the decoding of both row protocols, and the table that maps MySQL
// types to Arrow types (TypeTable). It never changes a value: a value arrives
// exactly, or the run fails with a coded fault. It reads: sessions and transactions are
// READ ONLY unless a pipeline says read_only: false (readonly.go says what that leaves
// open). It never puts a value into SQL text when the server can bind it.
//
// # Protocol
//
// Statements are prepared, and rows arrive in the binary protocol, which costs
// the server about a quarter less than text. A server that cannot prepare the
// statement gets it as text, with the arguments as quoted literals; Settings
// can force either. End-of-file packets are used (CLIENT_DEPRECATE_EOF is off):
// the one after the column definitions is the only place that tells, before the
// first row, that a result set holds OUT parameters.
//
// # Several connections
//
// With the setting partitions, several sessions read parts of one result, all of one
// snapshot; rows, order and batches are those of one session. See partition.go for how a
// result is cut, together.go for the snapshot, and parallel.go for the order.
//
// # Text
//
// The session's character set is utf8mb4, so the server converts text of any
// column to UTF-8. Text is handed on as it came, without looking at it: whether
// a byte sequence that is not UTF-8 is an error or is replaced is a policy of
// the encoders, and they must look at every byte anyway.
package mysql
