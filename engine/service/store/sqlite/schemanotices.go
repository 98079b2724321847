package sqlite

// noticeSchema is a migration: what customers were told of late, and are not told again for a while.
const noticeSchema = `
CREATE TABLE notices (
	customer TEXT NOT NULL,
	name     TEXT NOT NULL,
	at       INTEGER NOT NULL, -- on the steady clock
	PRIMARY KEY (customer, name)
) STRICT, WITHOUT ROWID;
`
