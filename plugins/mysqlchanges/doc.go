// Package mysqlchanges is the source mysql-changes: it copies tables of MySQL or MariaDB once, follows their changes in the
// server's binary log from then on, and gives a row of sdk/changes for every document that is written or deleted.
//
// It owns the order of all that: which rows of a page the log knows better, what of a transaction was delivered, what each
// event means for a stream, and the position that says all of it. The log itself is read by package binlog, its rows are
// decoded by row, its statements judged by statement, pages are read by snapshot, and servers judged by preflight. It
// passes nothing over that might have changed a document: it gives what is known exactly, or stops with a code and the
// place in the log.
//
// # Position
//
// A position is the place in the log where a transaction begins, how many rows of the stream's tables were delivered of
// that transaction, which tables are copied, with digests of what their columns are like, and how far the copy of the one
// is that is being copied. A transaction is read again from its beginning, and what was delivered is passed over: so it is
// never held in memory, whatever its size. The id of the last row that was copied is in the position while the first copy
// goes on, and nothing else of a row.
package mysqlchanges
