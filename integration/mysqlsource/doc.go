// Package mysqlsource tests the mysql source on the servers that practices run: MySQL and
// MariaDB, side by side. What needs no server of MySQL's is tested beside the source.
package mysqlsource
