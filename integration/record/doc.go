// Package record tests the record on the servers that hold one for several processes: MySQL and MariaDB, side by side, killed,
// promoted and cut off. It owns no part of the record: what needs no server is tested beside the packages, under
// engine/service/store.
package record
