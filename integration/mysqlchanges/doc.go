// Package mysqlchanges tests the source mysql-changes on real servers of both sorts: what it makes of their logs, and that
// a run goes on exactly where another one ended, whatever broke in between. It owns nothing that anybody imports.
package mysqlchanges
