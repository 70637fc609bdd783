package rehearse

import (
	"testing"

	"github.com/contraflow/contraflow/internal/devstack/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }
