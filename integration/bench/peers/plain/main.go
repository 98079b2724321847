// Command plain is a peer of bench: the program that somebody would write in Go with database/sql and the standard
// library's JSON and CSV. It owns nothing that the project uses, and never tries to be more exact than its libraries are
// by themselves.
//
// usage: plain TABLE COLUMNS FORMAT FILE
package main

import (
	"bufio"
	"database/sql"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"log"
	"os"

	"github.com/go-sql-driver/mysql"
)

func main() {
	if err := export(os.Args[1], os.Args[2], os.Args[3], os.Args[4]); err != nil {
		log.Fatal(err)
	}
}

func export(table, columns, form, file string) error {
	settings := mysql.NewConfig()
	settings.Net, settings.Addr = "tcp", os.Getenv("PEER_HOST")+":"+os.Getenv("PEER_PORT")
	settings.User, settings.Passwd, settings.DBName = os.Getenv("PEER_USER"), os.Getenv("PEER_PASSWORD"), os.Getenv("PEER_DATABASE")
	settings.ParseTime = true
	db, err := sql.Open("mysql", settings.FormatDSN())
	if err != nil {
		return err
	}
	defer db.Close()
	rows, err := db.Query("SELECT " + columns + " FROM " + table)
	if err != nil {
		return err
	}
	defer rows.Close()
	names, err := rows.Columns()
	if err != nil {
		return err
	}
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	defer f.Close()
	out := bufio.NewWriterSize(f, 1<<20)
	values, targets := make([]any, len(names)), make([]any, len(names))
	for i := range values {
		targets[i] = &values[i]
	}
	write, end := writer(out, form, names)
	for rows.Next() {
		if err := rows.Scan(targets...); err != nil {
			return err
		}
		for i, v := range values {
			if text, ok := v.([]byte); ok {
				values[i] = string(text)
			}
		}
		if err := write(values); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	if err := end(); err != nil {
		return err
	}
	return out.Flush()
}

// writer writes rows as lines of JSON or as CSV.
func writer(out *bufio.Writer, form string, names []string) (write func([]any) error, end func() error) {
	if form == "ndjson" {
		lines, row := json.NewEncoder(out), map[string]any{}
		return func(values []any) error {
			for i, name := range names {
				row[name] = values[i]
			}
			return lines.Encode(row)
		}, func() error { return nil }
	}
	records, record := csv.NewWriter(out), names
	header := records.Write(record)
	record = make([]string, len(names))
	return func(values []any) error {
			if header != nil {
				return header
			}
			for i, v := range values {
				record[i] = ""
				if v != nil {
					record[i] = fmt.Sprint(v)
				}
			}
			return records.Write(record)
		}, func() error {
			records.Flush()
			return records.Error()
		}
}
