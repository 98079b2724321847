// Package config reads the document that a service is configured by, of kind Service, with the same strict reader as
// pipelines: every mistake at once, with its place, a code and what to do. It owns what such a document may hold, its
// defaults, the checks that go beyond single values, and the references to secrets; it never listens, opens a
// database or looks into a bucket. What comes out does not change: a reload reads anew.
//
// Nothing in a document is a secret. Where one is needed, a reference stands: env:VARIABLE, file:PATH, command:PROGRAM
// ARGUMENTS, or ${secret.NAME} for one of those under secrets. Paths are relative to the folder of the document.
package config

import (
	"slices"
	"sync"
	"time"

	"github.com/cipherstream/cipherstream/engine/document"
	"github.com/cipherstream/cipherstream/sdk/config"
)

// Kind is the kind of the document.
const Kind = document.KindService

// Spec is what stands under spec, with the defaults of what does not.
type Spec struct {
	Listen         Listen                `config:"listen" doc:"Where customers reach the service."`
	Operations     Operations            `config:"operations" doc:"A listener of its own for metrics and health, for operators only."`
	AdminNetworks  []string              `config:"admin_networks" default:"[\"127.0.0.0/8\",\"::1/128\"]" doc:"Networks (CIDR) from which keys of scope admin are accepted."`
	TrustedProxies []string              `config:"trusted_proxies" doc:"Networks (CIDR) of proxies whose X-Forwarded-For is believed. Default none: the address of who connects counts."`
	Servers        []string              `config:"servers" doc:"Base URLs that the OpenAPI document names, such as https://api.example.com. Default the one that was asked. Webhooks and mail, which nobody asks for, have links to the service only where one is given."`
	State          string                `config:"state" default:"state" doc:"Where the record of keys, requests and jobs is: a data directory, which one process has at a time, or a reference to the URL of a MySQL or MariaDB server, mysql://user:password@host:3306/database, which as many services and workers share as are wanted."`
	DataKey        config.Secret         `config:"data_key" kind:"keys" doc:"Reference to the key, 32 bytes in base64, under which keys that the service makes are kept in the record, and objects in folders. Default a key that the service makes, in a file of the data directory; where there is none, it has to be given."`
	Buckets        map[string]BucketSpec `config:"buckets" doc:"Where results of jobs are stored, by a name that customers refer to."`
	Jobs           Jobs                  `config:"jobs" doc:"Who runs jobs, for how long, and how long their results are kept."`
	Webhooks       Webhooks              `config:"webhooks" doc:"Where webhooks may go, and where they come from."`
	Mail           Mail                  `config:"mail" doc:"The server that mail to customers is handed to."`
	Limits         Limits                `config:"limits" doc:"What all customers share, and what one may have."`
	Shutdown       Shutdown              `config:"shutdown" doc:"How the service ends."`
	Secrets        map[string]string     `config:"secrets" doc:"References to secrets by name, for ${secret.NAME}."`
	Customers      []CustomerSpec        `config:"customers" doc:"The customers, and what each may reach."`
	Schedules      []string              `config:"schedules" max:"1000" doc:"Files with documents of kind Schedule, and folders of them: jobs that are made again and again."`
	Plugins        string                `config:"plugins" doc:"Folder with plugins.lock and third-party plugins. Default none."`
	Catalogue      string                `config:"catalogue" doc:"Folder with the pipelines of the catalogue instead of those of this program."`
	Log            Log                   `config:"log" doc:"What is logged, as JSON, to standard error."`
}

// Listen is the public listener.
type Listen struct {
	Address     string `config:"address" default:"127.0.0.1:8443" doc:"Address and port, such as 0.0.0.0:8443."`
	Certificate string `config:"certificate" doc:"PEM file with the certificate and its chain. It is read anew on a reload."`
	Key         string `config:"key" doc:"PEM file with the certificate's private key, readable by this user only."`
	Plain       string `config:"plain" enum:"loopback,proxy" default:"loopback" doc:"Where HTTP without TLS is allowed, when no certificate is given: on loopback only, or anywhere, behind a proxy that ends TLS and is one of trusted_proxies."`
}

// Operations is the listener for operators.
type Operations struct {
	Address string `config:"address" default:"127.0.0.1:9090" doc:"Address and port of /metrics, /healthz and /readyz, and of administration with an operator's key; off is none. On loopback it is without TLS; elsewhere it has the certificate of listen, and without one no administration."`
}

// BucketSpec is a place for objects as written.
type BucketSpec struct {
	URL             string        `config:"url,required" doc:"s3://NAME?region=… or file:///FOLDER. Objects in a folder are encrypted under the data key, and fetched from the service."`
	AccessKeyID     config.Secret `config:"access_key_id" kind:"identity" doc:"Reference to the access key ID; default what the environment has."`
	SecretAccessKey config.Secret `config:"secret_access_key" doc:"Reference to the secret access key."`
	Encryption      string        `config:"encryption" enum:"none,AES256,aws:kms" default:"none" doc:"Server-side encryption in S3, which is asked for and looked at; none leaves it to the bucket."`
	KMSKey          string        `config:"kms_key" doc:"Id of the key for aws:kms. Default the account's own."`
	Download        string        `config:"download" doc:"Base URL that stands in links instead of the bucket's own, such as that of a CDN, https://downloads.example.com, which hands requests on to the bucket under the bucket's own host name. Default none."`
}

// Jobs says who runs jobs.
type Jobs struct {
	Workers    int                      `config:"workers" default:"2" min:"0" max:"64" doc:"Jobs that a process of the service takes from the queue at once, beside those that requests in it have become. With 0 they wait for \"cipherstream worker\"."`
	TimeLimit  time.Duration            `config:"time_limit" default:"3m" min:"1s" max:"24h" doc:"How long an attempt of a job may run."`
	TimeLimits map[string]time.Duration `config:"time_limits" doc:"The same by the class of the procedure, data or special."`
	Retention  Retention                `config:"retention" doc:"How long results are kept."`
}

// Retention says how long what jobs leave is kept.
type Retention struct {
	Link  time.Duration `config:"link" default:"12h" min:"1m" max:"168h" doc:"How long after the end of a job its result can be fetched; its links end then at the latest."`
	Grace time.Duration `config:"grace" default:"1h" min:"0s" max:"720h" doc:"How long a result stays after its last link."`
	Jobs  time.Duration `config:"jobs" default:"2160h" min:"24h" max:"87600h" doc:"How long jobs, and deliveries of webhooks and mail, are listed after their end: 90 days."`
	Audit time.Duration `config:"audit" default:"61368h" min:"8760h" max:"876000h" doc:"How long the audit is kept, of jobs and of everything else: 7 years."`
}

// Limits are those of the process, and of each customer.
type Limits struct {
	Memory     config.Size   `config:"memory" default:"1GiB" min:"64MiB" doc:"Memory that all runs together may have."`
	RunMemory  config.Size   `config:"run_memory" default:"32MiB" min:"16MiB" doc:"Buffers of one run."`
	Streams    int           `config:"streams" default:"10" min:"1" max:"1000" doc:"Streams that one customer may have at once."`
	MaxWait    time.Duration `config:"max_wait" default:"5s" min:"0s" max:"10m" doc:"How long a stream waits for memory before it is refused."`
	Rates      Rates         `config:"rates" doc:"Requests that one key, or one address, may make."`
	Spool      Spool         `config:"spool" doc:"Where answers wait until they are whole."`
	DataStream Waiting       `config:"data_stream" doc:"What of one channel of a data stream may wait for its receiver. Beyond that nothing is read, for any channel, until the receiver has taken some."`
	Warm       int           `config:"warm" default:"1" min:"0" max:"64" doc:"Plugin processes that are kept started in advance."`
}

// Waiting bounds what waits of a channel of a data stream.
type Waiting struct {
	Documents int         `config:"documents" default:"100000" min:"1000" max:"100000000" doc:"Documents."`
	Bytes     config.Size `config:"bytes" default:"256MiB" min:"16MiB" doc:"Their bytes, as they are kept in the record."`
}

// Rates are token buckets, by policy.
type Rates struct {
	Procedures Rate `config:"procedures" doc:"Requests for rows."`
	Polling    Rate `config:"polling" doc:"Requests about requests and jobs."`
	Downloads  Rate `config:"downloads" doc:"Downloads of objects."`
	Anonymous  Rate `config:"anonymous" doc:"Requests without a good key, by the address (of IPv6 the network of 64 bits) that they come from. Beyond that they are answered 429 instead of 401; those with a good key are not held up."`
}

// Rate is a token bucket: so many requests in a window, all of them at once if need be.
type Rate struct {
	Requests int           `config:"requests" default:"600" min:"1" max:"1000000" doc:"Requests in a window."`
	Window   time.Duration `config:"window" default:"1m" min:"1s" max:"24h" doc:"Length of the window."`
}

// Spool bounds what waits.
type Spool struct {
	Directory string      `config:"directory" doc:"Folder for what does not fit in memory, sealed under a key of this process. Default the system's for temporary files."`
	Memory    config.Size `config:"memory" default:"1MiB" min:"0" max:"1GiB" doc:"Part of an answer that stays in memory."`
	Answer    config.Size `config:"answer" default:"1GiB" min:"1MiB" doc:"Largest answer."`
	Process   config.Size `config:"process" default:"4GiB" min:"1MiB" doc:"All answers together."`
}

// Shutdown says how long what runs may go on.
type Shutdown struct {
	Grace time.Duration `config:"grace" default:"30s" min:"0s" max:"1h" doc:"How long streams may go on after SIGTERM, before they are cut."`
}

// Log says what is logged.
type Log struct {
	Level string `config:"level" enum:"debug,info,warn,error" default:"info" doc:"Lowest level that is logged."`
}

// CustomerSpec is a customer as written.
type CustomerSpec struct {
	ID             string                  `config:"id,required" max:"64" doc:"The customer_id: letters, digits, dashes and underscores."`
	Name           string                  `config:"name" max:"200" doc:"Name for people."`
	Demo           bool                    `config:"demo" doc:"Whether demo keys reach it."`
	DSN            config.Secret           `config:"dsn,required" kind:"connection" doc:"Reference to the connection URL, mysql://user:password@host:3306/database."`
	Bucket         string                  `config:"bucket" doc:"Name of the bucket for results of jobs."`
	EncryptionKeys []config.Secret         `config:"encryption_keys" kind:"keys" max:"16" doc:"References to encryption keys, the active one first. Keys that the service makes (customer key new) come before them."`
	Allow          Allow                   `config:"allow" doc:"What custom_table may name."`
	Networks       []string                `config:"networks" max:"256" doc:"Networks (CIDR) from which its keys are accepted. Default any."`
	DataStream     DataStream              `config:"data_stream" doc:"Where the changes come from that its data stream sends."`
	Notify         Notify                  `config:"notify" doc:"Whom mail goes to, and of what."`
	Streams        int                     `config:"streams" min:"0" max:"1000" doc:"Streams at once; 0 is limits.streams."`
	TimeZone       string                  `config:"time_zone" doc:"IANA time zone of the practice, ${customer.time_zone} of pipelines."`
	Attributes     map[string]config.Value `config:"attributes" doc:"More of ${customer.NAME}, for pipelines of your own."`
}

// DataStream says where the changes come from that a customer's data stream sends.
type DataStream struct {
	Pipeline string `config:"pipeline" doc:"Pipeline whose only stage is a source of changes, mysql-changes or mysql-poll: the path of a file, such as ./streams/sunrise.yaml, or the name of one of this program's, such as practice. It says which tables belong to which channel. Another one, after a reload, is taken when the stream is enabled again. Default none: the customer has no data stream."`
}

// Allow is what may be named.
type Allow struct {
	Tables     []string `config:"tables" max:"1000" doc:"Tables and views; * stands for any characters."`
	Procedures []string `config:"procedures" max:"1000" doc:"Stored procedures; * stands for any characters."`
}

// spec is made when it is needed, and not at the start of every process of this program.
var spec = sync.OnceValue(config.Of[Spec])

// optional is the same with nothing required: what is missing is told when the document is read, and does not keep the
// rest from being checked.
var optional = sync.OnceValue(func() *config.Spec { return &config.Spec{Fields: notRequired(spec().Fields)} })

func notRequired(fields []config.Field) []config.Field {
	fields = slices.Clone(fields)
	for i := range fields {
		f := &fields[i]
		f.Required = false
		f.Fields = notRequired(f.Fields)
		if f.Items != nil {
			items := *f.Items
			items.Fields = notRequired(items.Fields)
			f.Items = &items
		}
	}
	return fields
}

// Schema describes the document for editors, as a JSON Schema.
func Schema() map[string]any { return document.SettingsSchema(Kind, spec()) }
