// Package snapshot reads rows of a table as they are at a place of the server's log: the pages of a first copy, and rows
// that are asked for by their ids. It owns the marks between which a page was read, the order of a key and the locks; it
// never reads the log, and keeps nothing from page to page but how large one should be.
//
// # What a page says
//
// A Page has two places of the log, Low and High, by file and offset. Whoever merges it delivers the log up to High,
// then those rows of the page whose key no transaction in (Low, High] has touched, then the log behind High. The rows that
// are left are exactly what the log, had it been followed from the beginning, gives at High; and a row that is not in the
// page, although its key is of the page's range and was not touched, is not there at High. Every page begins behind what
// the caller has delivered already (the argument delivered), so that no older row ever follows a newer change.
//
// # Why it is right
//
// Both servers write a transaction to the log first, and commit it in the engine then. Between the two it is in the log
// and not visible; a semi-synchronous replica that does not acknowledge, a slow disk or a full group of commits make
// that long. And it becomes visible, row by row, before the list of executed GTIDs has it. So places are compared by file
// and offset, which move when the log is written, and never by GTIDs.
//
// MySQL has no snapshot whose place in the log is known. A page is
//
//		low := end of the log;  SELECT … FOR SHARE;  high := end of the log
//
//	  - What is in the log at low is in the page. A transaction holds the locks of its rows until it is committed in the
//	    engine, also those of rows that it deleted or inserted. FOR SHARE waits for them, and sees what was committed; a
//	    plain SELECT would pass by, and the change would be lost, because the log has it before low.
//	  - What is in the page is in the log at high. A row that is seen was committed in the engine, so its transaction was in
//	    the log before. It cannot come from the future of high.
//	  - A transaction in (low, high] may be in the page or not, in one row and not in another. That is why the keys that it
//	    touched are left out: the log has delivered them.
//
// The locks are those of one statement, on the rows of one page (READ COMMITTED: no gaps are locked, and rows that are
// inserted between are in the log behind low). Where a lock is not had within a second, the next page is smaller, down to
// a single row, and the caller goes on with the log meanwhile.
//
// MariaDB gives START TRANSACTION WITH CONSISTENT SNAPSHOT the place of the log at which it is taken
// (Binlog_snapshot_file, Binlog_snapshot_position), under the lock of the commit's order: transactions before it are
// visible, those behind it are not, also when the log has them. A page is read in such a transaction, without a lock of a
// row, and Low is High. That place can be before what a reader of the log has got, because the log is sent before the
// commit in the engine: such a snapshot is thrown away, and another is taken. For the same reason a stream begins at Start
// and not at the end of the log: a transaction between the two would be in neither.
package snapshot
