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
// that long. And it becomes visible before the list of executed GTIDs has it. So places are compared by file
// and offset, which move when the log is written, and never by GTIDs.
//
// MySQL has no snapshot whose place in the log is known, and MariaDB's (see below) is not kept to. A page is
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
// All of this needs locks of rows and the log before the engine: InnoDB, and no log that is switched off for a session.
//
// The locks are those of one statement, on the rows of one page (READ COMMITTED: no gaps are locked, and rows that are
// inserted between are in the log behind low). Where a lock is not had within a second, the next page is smaller, down to
// a single row, and the caller goes on with the log meanwhile.
//
// MariaDB's START TRANSACTION WITH CONSISTENT SNAPSHOT has a place in the log (Binlog_snapshot_position), and would need no
// locks. It is not used: under a semi-synchronous wait that ends, a snapshot of 11.8 was seen to show a whole group of
// commits that its place did not have yet, the status variables are shared by all sessions that ask for them at one time,
// and the place is before what a replica has already got, so that a stream would have to wait for it all the same.
package snapshot
