// Package binlog reads the binary log of a MySQL or MariaDB server, as a replica does: it finds a place in it, by GTIDs
// where the server has them and by file and offset where it has not, asks for what follows, checks the checksums, unwraps
// compressed transactions, and gives transactions event by event. It owns what is a place in a log, and what belongs to a
// transaction. It decodes no row, and what an event means for whoever follows the log is not its business.
//
// It takes events apart itself: go-mysql's replication package, which does so too, holds a whole compressed transaction in
// memory, panics on what is not well formed, and brings its client, a parser of SQL and a library of logs along. Here
// memory is bounded by the largest event, not by the largest transaction. The layouts are those of MySQL's
// libs/mysql/binlog/event and MariaDB's sql/log_event.h.
package binlog
