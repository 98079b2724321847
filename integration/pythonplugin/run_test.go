package pythonplugin

import (
	"testing"

	"github.com/cipherstream/cipherstream/integration/examplebundle"
)

func TestRun(t *testing.T) {
	t.Parallel()
	examplebundle.Run(t, bundle(t), "stage_filter.py", "import os\n")
}
