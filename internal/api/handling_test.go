package api

import (
	"net/http"
	"slices"
	"testing"
)

// TestCallHandlingOfExtensions: it is kept when a change leaves it out, and a
// number that cannot be dialled is refused at its field.
func TestCallHandlingOfExtensions(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	boss := b.setUp()
	boss.must(http.StatusCreated, "POST", "/extensions", ExtensionCreate{Number: "150", DisplayName: "Eva", Handling: &CallHandling{DoNotDisturb: true, RingAlso: []string{}}}, nil)
	var e Extension
	boss.must(http.StatusOK, "GET", "/extensions/150", nil, &e)
	if !e.Handling.DoNotDisturb || e.Handling.RingAlso == nil {
		t.Errorf("%+v", e.Handling)
	}
	want := CallHandling{ForwardNoAnswer: "102", MaxCalls: 2, RingAlso: []string{"103"}}
	boss.must(http.StatusOK, "PUT", "/extensions/150", ExtensionUpdate{DisplayName: "Eva", NoAnswerSeconds: 20, Handling: &want}, &e)
	boss.must(http.StatusOK, "PUT", "/extensions/150", ExtensionUpdate{DisplayName: "Eva B", NoAnswerSeconds: 25}, &e)
	if e.NoAnswerSeconds != 25 || e.Handling.ForwardNoAnswer != "102" || e.Handling.MaxCalls != 2 || !slices.Equal(e.Handling.RingAlso, want.RingAlso) || e.Handling.DoNotDisturb {
		t.Errorf("%+v", e)
	}
	want.ForwardBusy = "1a"
	a := boss.must(http.StatusUnprocessableEntity, "PUT", "/extensions/150", ExtensionUpdate{DisplayName: "Eva", NoAnswerSeconds: 20, Handling: &want}, nil)
	if len(a.Problem.Errors) != 1 || a.Problem.Errors[0].Location != "body.call_handling.forward_busy" {
		t.Errorf("%s", a.Body)
	}
}
