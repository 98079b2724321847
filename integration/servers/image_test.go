package servers

import (
	"strings"
	"testing"
)

// TestImageVariables: the variables of the README decide which image a server is, of every kind of server, and nothing else
// stands in for one that cannot be had.
func TestImageVariables(t *testing.T) {
	for variable, of := range map[string]recipe{
		"CIPHERSTREAM_MYSQL_IMAGE":   mysqlRecipe,
		"CIPHERSTREAM_MARIADB_IMAGE": mariadbRecipe,
		"CIPHERSTREAM_MINIO_IMAGE":   minioRecipe,
	} {
		t.Run(variable, func(t *testing.T) {
			usual, err := findImage(of)
			if err != nil {
				refuse(t, missing{err.Error()})
			}
			name := "cipherstream-test/of-ones-own:" + of.name
			if _, err := docker(usual.engine, "tag", usual.image, name); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if _, err := docker(usual.engine, "image", "rm", name); err != nil {
					t.Error(err)
				}
			})
			t.Setenv(variable, name)
			ways, err := find(of)
			if err != nil || len(ways) != 1 || ways[0].image != name {
				t.Fatalf("%+v, %v", ways, err)
			}
			if of.name == minioRecipe.name { // which is the quickest to start; what starts them is the same
				r, err := launchIn(ways, of, nil)
				if err != nil {
					t.Fatal(err)
				}
				defer r.remove()
				id := r.instance.(*container).running.GetContainerID()
				if got, err := docker(usual.engine, "inspect", "--format", "{{.Config.Image}}", id); err != nil || got != name {
					t.Errorf("its container is of %q: %v", got, err)
				}
			}
			// Port 1 of loopback is no registry, so that nothing is asked for elsewhere.
			t.Setenv(variable, "127.0.0.1:1/nobody/has:1")
			if ways, err := find(of); err == nil || !strings.Contains(err.Error(), "127.0.0.1:1/nobody/has:1") {
				t.Errorf("%+v, %v", ways, err)
			}
		})
	}
}
