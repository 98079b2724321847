// Package service tests the service's answers with the program's own stages: what the headers say against what the bytes
// are. It owns only tests.
package service
