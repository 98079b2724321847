// Package row turns the row images of a MySQL or MariaDB binary log into Arrow, value by value what the mysql source reads
// of the same row with SELECT: numbers, dates and instants as they are stored, text converted to UTF-8 as the server
// converts it, labels of ENUM and SET, MySQL's binary JSON as the server's own text. What it cannot give exactly is a coded
// fault; it never guesses and never gives NULL for what it does not know.
//
// It owns the formats: the TABLE_MAP event (ReadTableMap), the values behind it (Decoder), binary JSON, and the character
// sets. It reads no log, asks no server, and knows no positions.
//
// The formats are those of MySQL's libs/mysql/binlog/event/rows_event.h (Table_map_event), sql/log_event.cc and
// sql-common/json_binary.h, and of MariaDB's sql/log_event.h and sql/field.cc.
package row
