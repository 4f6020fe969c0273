package api

import (
	"context"
	"net/http"
	"time"

	"ringfence/internal/dialplan"
	"ringfence/internal/store"
	"ringfence/internal/telephony"
)

// DaySpan is a part of a day in minutes after midnight, wall clock.
type DaySpan struct {
	From int `json:"from" minimum:"0" maximum:"1439"`
	To   int `json:"to" minimum:"1" maximum:"1440" doc:"Not included."`
}

// Holiday is a day that is closed.
type Holiday struct {
	Name  string `json:"name" required:"false" maxLength:"64"`
	Month int    `json:"month" minimum:"1" maximum:"12"`
	Day   int    `json:"day" minimum:"1" maximum:"31"`
	Year  int    `json:"year" required:"false" minimum:"0" maximum:"2200" doc:"0 is every year."`
}

// Hours are a week of opening hours with its holidays, in the organisation's time zone.
type Hours struct {
	Name     string      `json:"name" required:"false" maxLength:"64"`
	Week     [][]DaySpan `json:"week" required:"false" nullable:"false" maxItems:"7" doc:"Seven days, Sunday first."`
	Holidays []Holiday   `json:"holidays" required:"false" nullable:"false" maxItems:"200"`
}

// HoursNow are hours with what they say now.
type HoursNow struct {
	Hours
	State      string     `json:"state" enum:"open,closed,holiday"`
	Holiday    string     `json:"holiday" doc:"Name of today's holiday."`
	NextChange *time.Time `json:"next_change,omitempty" doc:"Absent if nothing changes within a year."`
	NextState  string     `json:"next_state,omitempty"`
}

// HoursList lists hours by name.
type HoursList struct {
	TimeZone string     `json:"time_zone"`
	Now      time.Time  `json:"now" doc:"In that zone."`
	Items    []HoursNow `json:"items" nullable:"false"`
}

// HoursPath are the hours of a path.
type HoursPath struct {
	Hours string `path:"hours" minLength:"1" maxLength:"64" doc:"Name of the hours."`
}

type hoursWrite struct {
	HoursPath
	Precondition
	written[Hours]
}

type hoursDelete struct {
	HoursPath
	Precondition
}

func (s *Server) registerHours() {
	const one = "/hours/{hours}"
	changes := []int{http.StatusNotFound, http.StatusConflict, http.StatusPreconditionFailed}
	handle(s, operation{id: "list-hours", method: http.MethodGet, path: "/hours", tag: "routing", summary: "List opening hours with what they say now", access: manageRules}, s.listHours)
	handle(s, operation{id: "create-hours", method: http.MethodPost, path: "/hours", tag: "routing", summary: "Add opening hours", access: manageRules, status: http.StatusCreated, errors: []int{http.StatusConflict}}, s.createHours)
	handle(s, operation{id: "get-hours", method: http.MethodGet, path: one, tag: "routing", summary: "Read opening hours", access: manageRules, errors: []int{http.StatusNotFound}}, s.getHours)
	handle(s, operation{id: "put-hours", method: http.MethodPut, path: one, tag: "routing", summary: "Replace opening hours; rules follow a new name", access: manageRules, errors: changes}, s.putHours)
	handle(s, operation{id: "patch-hours", method: http.MethodPatch, path: one, tag: "routing", summary: "Change some fields of opening hours", access: manageRules, errors: changes}, s.patchHours)
	handle(s, operation{id: "delete-hours", method: http.MethodDelete, path: one, tag: "routing", summary: "Delete opening hours that no rule names", access: manageRules, status: http.StatusNoContent, errors: changes}, s.deleteHours)
}

func hoursOf(v telephony.Schedule) Hours {
	h := Hours{Name: v.Name, Week: make([][]DaySpan, 7), Holidays: []Holiday{}}
	for day, spans := range v.Week {
		h.Week[day] = []DaySpan{}
		for _, span := range spans {
			h.Week[day] = append(h.Week[day], DaySpan(span))
		}
	}
	for _, d := range v.Holidays {
		h.Holidays = append(h.Holidays, Holiday{d.Name, int(d.Month), d.Day, d.Year})
	}
	return h
}

func (h Hours) domain() telephony.Schedule {
	v := telephony.Schedule{Name: h.Name}
	for day, spans := range h.Week[:min(len(h.Week), len(v.Week))] {
		for _, span := range spans {
			v.Week[day] = append(v.Week[day], telephony.DaySpan(span))
		}
	}
	for _, d := range h.Holidays {
		v.Holidays = append(v.Holidays, telephony.Holiday{Name: d.Name, Month: time.Month(d.Month), Day: d.Day, Year: d.Year})
	}
	return v
}

func (s *Server) listHours(ctx context.Context, _ *noInput) (*body[HoursList], error) {
	r := s.cfg.Store.Snapshot().Routing(callerOf(ctx).tenant)
	zone, err := time.LoadLocation(r.TimeZone)
	if err != nil {
		zone = time.UTC
	}
	now := time.Now().In(zone)
	out := HoursList{TimeZone: zone.String(), Now: now, Items: []HoursNow{}}
	for _, v := range r.Schedules {
		h := HoursNow{Hours: hoursOf(v), State: string(dialplan.StateOf(v, now))}
		if d, ok := dialplan.HolidayOf(v, now); ok {
			h.Holiday = d.Name
		}
		if at, next := dialplan.NextChange(v, now); !at.IsZero() {
			h.NextChange, h.NextState = &at, string(next)
		}
		out.Items = append(out.Items, h)
	}
	return &body[HoursList]{out}, nil
}

func (s *Server) getHours(ctx context.Context, in *HoursPath) (*tagged[Hours], error) {
	for _, v := range s.cfg.Store.Snapshot().Routing(callerOf(ctx).tenant).Schedules {
		if v.Name == in.Hours {
			return tag(hoursOf(v)), nil
		}
	}
	return nil, store.ErrNotFound
}

func (s *Server) createHours(ctx context.Context, in *written[Hours]) (*tagged[Hours], error) {
	h, err := merged(hoursOf(telephony.Schedule{}), in.RawBody)
	if err != nil {
		return nil, err
	}
	if err := s.change(ctx, func(tx *store.Tx) error { return tx.CreateSchedule(h.domain()) }); err != nil {
		return nil, err
	}
	return s.getHours(ctx, &HoursPath{h.Name})
}

func (s *Server) putHours(ctx context.Context, in *hoursWrite) (*tagged[Hours], error) {
	return s.alterHours(ctx, in, func(Hours) Hours { return hoursOf(telephony.Schedule{}) })
}

func (s *Server) patchHours(ctx context.Context, in *hoursWrite) (*tagged[Hours], error) {
	return s.alterHours(ctx, in, func(h Hours) Hours { return h })
}

func (s *Server) alterHours(ctx context.Context, in *hoursWrite, base func(Hours) Hours) (*tagged[Hours], error) {
	name := in.HoursPath.Hours
	err := s.change(ctx, func(tx *store.Tx) error {
		old, err := tx.Schedule(name)
		if err != nil {
			return err
		}
		if err := in.holds(hoursOf(old)); err != nil {
			return err
		}
		h, err := merged(base(hoursOf(old)), in.RawBody)
		if err != nil {
			return err
		}
		if err := tx.PutSchedule(name, h.domain()); err != nil {
			return err
		}
		name = h.Name
		return nil
	})
	if err != nil {
		return nil, err
	}
	return s.getHours(ctx, &HoursPath{name})
}

func (s *Server) deleteHours(ctx context.Context, in *hoursDelete) (*struct{}, error) {
	return nil, s.change(ctx, func(tx *store.Tx) error {
		old, err := tx.Schedule(in.Hours)
		if err != nil {
			return err
		}
		if err := in.holds(hoursOf(old)); err != nil {
			return err
		}
		return tx.DeleteSchedule(in.Hours)
	})
}
