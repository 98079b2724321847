// Package webhook tells customers what has happened: it makes deliveries of the events in the record's outbox, and sends
// each of them, signed, to where the customer has asked for, until the receiver has it or there is no more use in trying.
// It owns the order of that and every byte that goes out; which delivery is next, and what an attempt comes to, the record
// says, and mail is handed to package mail. It never connects to an address that is not public, and never keeps or logs a
// link, a secret, or what a receiver has answered.
package webhook
