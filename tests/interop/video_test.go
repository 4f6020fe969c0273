package interop

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"ringfence/tests/clients"
)

// webPictures is what a browser tells of a call's video.
type webPictures struct {
	Codec    string `json:"codec"`    // of what it sees
	Decoded  int    `json:"decoded"`  // pictures
	Keys     int    `json:"keys"`     // whole ones among them
	Asked    int    `json:"asked"`    // times it asked for a whole one
	WasAsked int    `json:"wasAsked"` // times it was asked
	Size     string `json:"size"`
	SentSize string `json:"sentSize"`
	SentKeys int    `json:"sentKeys"`
}

func pictures(t *testing.T, web *clients.WebPhone, call int) (p webPictures) {
	t.Helper()
	text, err := web.Do("pictures", on(call))
	if err == nil {
		err = json.Unmarshal([]byte(text), &p)
	}
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Two browsers see each other, in VP8 and in H.264: pictures of the size that is
// sent keep coming, and who asks for a whole one (PLI, RFC 4585 section 6.3.1)
// gets it from the other.
func TestBrowsersSeeEachOther(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	w := b.browser(t)
	camera := map[string]any{"camera": map[string]any{"width": 320, "height": 240, "frameRate": 15}}
	one, two := b.webPhone(t, w, "101", 440, camera), b.webPhone(t, w, "102", 660, camera)
	text, err := one.Do("encodes", nil)
	if err != nil {
		t.Fatal(err)
	}
	var encodes []string
	if err := json.Unmarshal([]byte(text), &encodes); err != nil {
		t.Fatal(err)
	}
	for i, codec := range []string{"VP8", "H264"} {
		if !slices.Contains(encodes, "video/"+codec) {
			t.Logf("this Chromium has no %s", codec)
			continue
		}
		n := i + 1
		prefer := map[string]any{"video": []string{codec}}
		run(t, one, "prefer", prefer)
		run(t, two, "prefer", prefer)
		run(t, one, "call", map[string]any{"to": "sip:102@" + b.pbx.Extension("102").Domain})
		happens(t, two, "101", "incoming")
		run(t, two, "answer", on(n))
		happens(t, one, "", "confirmed")
		happens(t, two, "", "confirmed")
		for _, p := range [][2]*clients.WebPhone{{one, two}, {two, one}} {
			sees(t, p[0], p[1], n, "video/"+codec)
		}
		webHears(t, one, n, 660, 440)
		b.secured(t, one, n)
		b.secured(t, two, n)
		run(t, one, "hangUp", on(n))
		happens(t, one, "", "ended")
		happens(t, two, "", "ended")
	}
}

// sees demands that one page sees the other's camera, and can ask it for a whole
// picture.
func sees(t *testing.T, web, other *clients.WebPhone, call int, codec string) {
	t.Helper()
	until := func(what string, done func(p, far webPictures) bool) (p, far webPictures) {
		t.Helper()
		for ctx := within(t, 15*time.Second); ctx.Err() == nil; time.Sleep(200 * time.Millisecond) {
			if p, far = pictures(t, web, call), pictures(t, other, call); done(p, far) {
				return p, far
			}
		}
		t.Fatalf("%s: %s; this end %+v, the other %+v", codec, what, p, far)
		return p, far
	}
	first, _ := until("no pictures come", func(p, _ webPictures) bool { return p.Decoded > 0 && p.Keys > 0 })
	p, far := until("pictures do not keep coming as they are sent", func(p, far webPictures) bool {
		return p.Decoded >= first.Decoded+20 && p.Size == far.SentSize
	})
	if p.Codec != codec || p.Size == "undefinedxundefined" {
		t.Errorf("pictures of %s come in %s", p.Size, p.Codec)
	}
	run(t, web, "wholePicture", nil)
	until("no whole picture was sent when asked for", func(now, farNow webPictures) bool {
		return now.Asked > p.Asked && farNow.WasAsked > far.WasAsked && farNow.SentKeys > far.SentKeys && now.Keys > p.Keys
	})
}
