package sqlite

import "context"

// Backup writes a copy of the record into a file that does not exist, as it is at one moment, while others read and write
// on. The copy is on disk when it returns, and has been read whole: its pages and its indexes agree. It is a record of its
// own: put into an empty data directory as record.db, with that directory's key beside it, and the streams that are in the
// directory beside the copy (see StreamsEnding) as its directory streams, it opens.
//
// What the copy does not have is what was acknowledged after it was begun.
func (s *Store) Backup(ctx context.Context, path string) error {
	if s.writer.stopped() {
		return errClosed()
	}
	return Copy(ctx, s.dir.path, path)
}
