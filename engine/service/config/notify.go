package config

import (
	"cmp"
	netmail "net/mail"
	"slices"
	"strconv"
	"strings"

	"github.com/cipherstream/cipherstream/engine/diag"
	"github.com/cipherstream/cipherstream/engine/document"
	"github.com/cipherstream/cipherstream/engine/service/customer"
	"github.com/cipherstream/cipherstream/engine/service/mail"
	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/mysqlurl"
)

// CodeMail is that of a mail server, or of an address of mail, that cannot be used.
const CodeMail = "service.mail"

// Webhooks says where webhooks may go, and where they come from.
type Webhooks struct {
	AllowNetworks   []string `config:"allow_networks" max:"256" doc:"Networks (CIDR) of addresses that webhooks and data streams may go to although they are not public: loopback, private, link-local and other special ones. Default none; a customer who can name one reaches what is there."`
	SourceAddresses []string `config:"source_addresses" max:"256" doc:"Networks (CIDR) that webhooks and data streams come from, as customers are told who let nobody else in. Default none are told."`
}

// Mail is the server that mail is handed to.
type Mail struct {
	Server   string        `config:"server" max:"253" doc:"Name of the server that takes mail by SMTP. Default none: no mail is sent."`
	Port     int           `config:"port" min:"0" max:"65535" doc:"Its port. Default 587, with tls: tls 465, with tls: none 25."`
	From     string        `config:"from" max:"254" doc:"Address that mail comes from, such as CipherStream <noreply@example.com>."`
	Username string        `config:"username" max:"254" doc:"Name to log in with. Default none: nobody logs in."`
	Password config.Secret `config:"password" doc:"Reference to its password."`
	TLS      string        `config:"tls" enum:"starttls,tls,none" default:"starttls" doc:"starttls: the connection begins in the clear, and nothing is sent before it is encrypted; tls: it is encrypted from the beginning; none: never, for a server on this machine."`
}

// Notify says whom a customer's mail goes to, and of what.
type Notify struct {
	Emails []string `config:"emails" max:"20" doc:"Addresses that are written to."`
	Events []string `config:"events" default:"[\"job.failed\",\"system.maintenance\",\"webhook.disabled\"]" max:"20" doc:"What they are told of: job.completed, job.failed, job.cancelled, system.maintenance, api.rate_limit, and webhook.disabled, when the customer's webhooks are sent no more."`
}

// mailPorts are the ports of a mail server that names none.
var mailPorts = map[string]int{"starttls": 587, "tls": 465, "none": 25}

// mail checks the server that mail is handed to, and fills in its port.
func (c *checker) mail(s *Settings, w Mail) {
	at := func(key string) []string { return []string{"mail", key} }
	reference := w.Password.Reveal()
	if reference != "" {
		s.MailPassword, _ = c.reference(reference, true, at("password")...)
	}
	if w.Server == "" {
		for key, given := range map[string]bool{"port": w.Port > 0, "from": w.From != "", "username": w.Username != "", "password": reference != ""} {
			if given {
				c.wrong(CodeMail, at(key), "mail.%s is given, and no mail.server", key)
			}
		}
		return
	}
	s.Mail.Port = cmp.Or(w.Port, mailPorts[w.TLS])
	if strings.ContainsAny(w.Server, ":/@ ") && !mysqlurl.IsLoopback(w.Server) {
		c.add(diag.At(c.doc.At(at("server")...), CodeMail, "%q is no name of a server", diag.Printable(w.Server)).
			WithHint("write its name alone, such as smtp.example.com; its port stands in mail.port"), at("server"))
	}
	if a, err := netmail.ParseAddress(w.From); err != nil {
		c.add(diag.At(c.doc.At(at("from")...), CodeMail, "%q is no address that mail can come from", diag.Printable(w.From)).
			WithHint("write CipherStream <noreply@example.com>, or the address alone"), at("from"))
	} else if !mail.Address(a.Address) {
		c.wrong(CodeMail, at("from"), "%q is no address that every mail server takes", diag.Printable(w.From))
	}
	if (w.Username == "") != (reference == "") {
		c.wrong(CodeMail, []string{"mail"}, "username and password go together, and one of the two is missing")
	}
	if w.TLS == "none" && !mysqlurl.IsLoopback(w.Server) {
		c.add(diag.At(c.doc.At(at("tls")...), CodeMail, "mail would go to %s in the clear, where anybody on the way reads it", diag.Printable(w.Server)).
			WithHint("set tls: starttls, or tls: tls; none is for a server on this machine"), at("tls"))
	}
}

// notify checks whom a customer's mail goes to.
func (c *checker) notify(n Notify, server string, at func(path ...string) []string) {
	for i, address := range n.Emails {
		place := at("notify", "emails", strconv.Itoa(i))
		switch {
		case !mail.Address(address):
			c.add(diag.At(c.doc.At(place...), CodeMail, "%q is no address of mail", diag.Printable(address)).
				WithHint("write it alone, such as practice@example.com"), place)
		case slices.Contains(n.Emails[:i], address):
			c.wrong(CodeMail, place, "%s is given twice", diag.Printable(address))
		}
	}
	for i, event := range n.Events {
		place := at("notify", "events", strconv.Itoa(i))
		if !slices.Contains(customer.MailEvents, event) {
			c.add(diag.At(c.doc.At(place...), document.CodeUnknownName, "no mail is sent of %q", diag.Printable(event)).
				WithSuggestion(event, customer.MailEvents), place)
		}
	}
	if len(n.Emails) > 0 && server == "" {
		c.add(diag.At(c.doc.At(at("notify", "emails")...), CodeMail, "mail is to be sent, and no server is given that takes it").
			WithHint("give one under mail.server"), at("notify", "emails"))
	}
}
