package flash

import (
	"fmt"
	"io"
	"strings"
)

// Bar returns a Progress that draws on a terminal, a line for the whole step,
// which ends when all is done.
func Bar(w io.Writer, step string) Progress {
	last := -1
	return func(done, total int64) {
		percent := 100
		if total > 0 {
			percent = int(100 * done / total)
		}
		if percent == last {
			return
		}
		last = percent
		const width = 30
		full := width * percent / 100
		end := ""
		if done >= total {
			end = "\n"
		}
		fmt.Fprintf(w, "\r[%s%s] %3d %% %s%s", strings.Repeat("#", full), strings.Repeat(".", width-full), percent, step, end)
	}
}
