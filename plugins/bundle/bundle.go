// Package bundle lists the first-party stages, so that one program can serve
// them all. It owns the list and nothing else.
package bundle

import (
	"github.com/cipherstream/cipherstream/plugins/aesgcm"
	"github.com/cipherstream/cipherstream/plugins/arrowipc"
	"github.com/cipherstream/cipherstream/plugins/columns"
	"github.com/cipherstream/cipherstream/plugins/contract"
	"github.com/cipherstream/cipherstream/plugins/csv"
	"github.com/cipherstream/cipherstream/plugins/csvfile"
	"github.com/cipherstream/cipherstream/plugins/deduplicate"
	"github.com/cipherstream/cipherstream/plugins/derive"
	"github.com/cipherstream/cipherstream/plugins/gzip"
	"github.com/cipherstream/cipherstream/plugins/job"
	"github.com/cipherstream/cipherstream/plugins/json"
	"github.com/cipherstream/cipherstream/plugins/limit"
	"github.com/cipherstream/cipherstream/plugins/mask"
	"github.com/cipherstream/cipherstream/plugins/mysql"
	"github.com/cipherstream/cipherstream/plugins/mysqlchanges"
	"github.com/cipherstream/cipherstream/plugins/mysqlpoll"
	"github.com/cipherstream/cipherstream/plugins/ndjson"
	"github.com/cipherstream/cipherstream/plugins/ndjsonfile"
	"github.com/cipherstream/cipherstream/plugins/parquet"
	"github.com/cipherstream/cipherstream/plugins/parquetfile"
	"github.com/cipherstream/cipherstream/plugins/sample"
	"github.com/cipherstream/cipherstream/plugins/sqlite"
	"github.com/cipherstream/cipherstream/plugins/stream"
	"github.com/cipherstream/cipherstream/plugins/where"
	"github.com/cipherstream/cipherstream/plugins/zip"
	"github.com/cipherstream/cipherstream/plugins/zstd"
	"github.com/cipherstream/cipherstream/sdk"
)

// Name is the name of the first-party plugin.
const Name = "cipherstream"

// Bundle returns the first-party stages as one plugin of the given version.
func Bundle(version string) sdk.Bundle {
	return sdk.Bundle{Name: Name, Version: version, Network: true, Stages: []sdk.Definition{
		mysql.Stage(),
		mysqlchanges.Stage(),
		mysqlpoll.Stage(),
		csvfile.Stage(),
		ndjsonfile.Stage(),
		parquetfile.Stage(),
		columns.Stage(),
		contract.Stage(),
		where.Stage(),
		mask.Stage(),
		derive.Stage(),
		limit.Stage(),
		sample.Stage(),
		deduplicate.Stage(),
		ndjson.Stage(),
		csv.Stage(),
		json.Stage(),
		parquet.Stage(),
		arrowipc.Stage(),
		gzip.Stage(),
		zip.Stage(),
		zstd.Stage(),
		aesgcm.Rows(),
		aesgcm.Chunks(),
		stream.Stage(),
		job.Stage(),
		sqlite.Stage(),
	}}
}
