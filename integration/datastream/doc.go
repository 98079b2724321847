// Package datastream tests the Data Stream as a whole: rows change in a real MySQL or MariaDB, a service reads its log and
// posts documents, and a receiver keeps them, one of the examples. Every part of that is killed, and what the receiver has in
// the end is compared with the database. It owns the load, the recorder between service and receiver that misbehaves, and the
// checker of what was recorded; it owns only tests.
package datastream
