package mysqlurl

import (
	"errors"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	u, err := Parse("mysql://me:p%40s%3As%2F%3F@db.example:3307/clinic_1?tls=disabled&time_zone=%2B10:00")
	if err != nil {
		t.Fatal(err)
	}
	if u.User != "me" || u.Password != "p@s:s/?" || u.Host != "db.example" || u.Port != "3307" || u.Database != "clinic_1" || u.Query.Get("time_zone") != "+10:00" {
		t.Errorf("%+v", u)
	}
	for text, want := range map[string]string{
		"mysql://u@h/d": "tcp h:3306", "mysql://u@[::1]:4": "tcp [::1]:4", "mysql://u@/d?socket=%2Frun%2Fm.sock": "unix /run/m.sock",
	} {
		u, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if network, address, err := u.Address(u.Query.Get("socket")); err != nil || network+" "+address != want {
			t.Errorf("%s: %s %s, %v; want %s", text, network, address, err, want)
		}
	}
	if _, _, err := (&URL{Port: "3306"}).Address(""); !isProblem(err) {
		t.Errorf("neither host nor socket: %v", err)
	}
}

func isProblem(err error) bool {
	var problem *Problem
	return errors.As(err, &problem) && problem.Hint != ""
}

// TestParseRefuses: what cannot be used is told, and no part of the URL is.
func TestParseRefuses(t *testing.T) {
	for _, text := range []string{
		"", "root:hunter2@tcp(127.0.0.1:3306)/d", "postgres://u:hunter2@h/d", "mysql://:hunter2@h/d", "mysql:u:hunter2@h/d", "mysql://h/d",
		"mysql://u:hunter2@h/a/b", "mysql://u:hunter2@h:port/d", "mysql://u:hunter2@h:0/d", "mysql://u:hunter2@h:65536/d", "mysql://u:hunter2%zz@h/d",
		"mysql://u:hunter2@h/d?a=%zz", "mysql://u:hunter2\x7f@h/d", "mysql://u:x#hunter2@h/d", "mysql://u:x/hunter2@h/d", "mysql://u%00:hunter2@h/d",
	} {
		if _, err := Parse(text); !isProblem(err) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, text := range []string{"mysql://u:p@h:1/d?tls=verify-ca&socket=/s", "mysql://u@[::1]/d", "mysql://u:%zz@h/d", "://", "mysql://u@h/d?tls_ca=x"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		u, err := Parse(text)
		if err != nil && !isProblem(err) {
			t.Errorf("%q: %v", text, err)
		}
		if err == nil && (u.User == "" || u.Port == "") {
			t.Errorf("%q is %+v", text, u)
		}
	})
}

func TestIsLoopback(t *testing.T) {
	for host, want := range map[string]bool{
		"localhost": true, "LOCALHOST": true, "127.0.0.1": true, "127.9.9.9": true, "::1": true, "": false, "localhost.example": false, "10.0.0.1": false, "0.0.0.0": false,
	} {
		if IsLoopback(host) != want {
			t.Errorf("%q: %t", host, !want)
		}
	}
}
