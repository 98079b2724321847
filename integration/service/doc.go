// Package service starts the service as its operators do, from the program as it is built, and asks it as customers do:
// with curl, with Python, and with the program's own client; and it holds the headers of every form of an answer against
// the bytes that come, with the program's own stages. It owns what these must see of a whole service; what each part of it
// does is tested where the part stands.
package service
