// Command go keeps a copy of what CipherStream's Data Stream sends, in a file of SQLite:
//
//	STREAM_SECRET=... go run ./examples/data-stream/go -organization clinic -db copy.db 127.0.0.1:8080
//
// Documents come in the order of their numbers, for each channel by itself. A request is answered when what it brought is on
// the disk, with the number up to which the channel is there; the sender goes on behind that number, whatever it has sent. So
// a request may be taken in part, and one that comes again, because its answer was lost, changes nothing. A receiver that is
// started again goes on where it was.
//
// It is an example to copy from. With -certificate and -key it speaks TLS itself, of a self-signed certificate too, when the
// stream is told its pin; without them something in front of it has to. A copy that was restored from a backup lacks what
// came since: reset each channel of the stream to the number that the backup has, which is printed at the start. A receiver in
// Python, which needs nothing of ours, stands beside it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"time"
)

func main() {
	organization := flag.String("organization", "", "the customer whose documents are taken (required)")
	path := flag.String("db", "copy.db", "the `FILE` of the copy")
	certificate := flag.String("certificate", "", "a `FILE` with the server's certificate, in PEM")
	key := flag.String("key", "", "a `FILE` with its key, in PEM")
	most := flag.Duration("most", 10*time.Second, "how long a request is worked on; what is left of it is to be sent again")
	flag.Parse()
	address := "127.0.0.1:8080"
	if flag.NArg() > 0 {
		address = flag.Arg(0)
	}
	secret := os.Getenv("STREAM_SECRET")
	if secret == "" {
		log.Fatal("STREAM_SECRET is empty: then anybody could change the copy")
	}
	if *organization == "" {
		log.Fatal("-organization says whose documents are taken")
	}
	records, err := Open(*path)
	if err != nil {
		log.Fatal(err)
	}
	defer records.Close()
	for _, channel := range Channels {
		last, err := records.Last(context.Background(), channel)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s: up to %d\n", channel, last)
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		log.Fatal(err)
	}
	server := &http.Server{
		Handler:           &Receiver{Secret: secret, Organization: *organization, Copy: records, Most: *most},
		ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute, IdleTimeout: 5 * time.Minute,
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	ended := make(chan struct{})
	context.AfterFunc(ctx, func() {
		defer close(ended)
		_ = server.Shutdown(context.Background())
	})
	if *certificate == "" {
		fmt.Printf("listening on http://%s\n", listener.Addr())
		err = server.Serve(listener)
	} else {
		fmt.Printf("listening on https://%s\n", listener.Addr())
		err = server.ServeTLS(listener, *certificate, *key)
	}
	if !errors.Is(err, http.ErrServerClosed) {
		log.Fatal(err)
	}
	<-ended // the requests that were being answered
}
