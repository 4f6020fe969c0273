package document

import (
	"encoding"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"

	"ringfence/internal/telephony"
)

// textOf writes values that are one word each in the document.
func textOf(v reflect.Value) (text string, ok bool) {
	switch x := v.Interface().(type) {
	case telephony.Secret:
		return "", false
	case time.Duration:
		return durationText(x), true
	case time.Time:
		if x.IsZero() {
			return "", true
		}
		return x.UTC().Format(time.RFC3339), true
	case telephony.Money:
		return moneyText(x), true
	case telephony.DaySpan:
		return clock(x.From) + "-" + clock(x.To), true
	case telephony.NumberRange:
		if x.Last == "" || x.Last == x.First {
			return x.First, true
		}
		return x.First + ".." + x.Last, true
	case time.Month:
		return x.String(), true
	case encoding.TextMarshaler:
		b, err := x.MarshalText()
		return string(b), err == nil
	}
	return "", false
}

// isText reports whether a type is one of them.
func isText(t reflect.Type) bool {
	if t == reflect.TypeFor[telephony.Secret]() {
		return false
	}
	_, ok := textOf(reflect.New(t).Elem())
	return ok
}

// setText reads what textOf wrote.
func setText(v reflect.Value, text string) (err error) {
	switch p := v.Addr().Interface().(type) {
	case *time.Duration:
		if *p, err = time.ParseDuration(text); err != nil {
			return errors.New("is no duration such as 30s, 10m or 1h30m")
		}
	case *time.Time:
		if *p = (time.Time{}); text != "" {
			if *p, err = time.Parse(time.RFC3339, text); err != nil {
				return errors.New("is no time such as 2030-01-31T12:00:00Z")
			}
		}
	case *telephony.Money:
		*p, err = parseMoney(text)
	case *telephony.DaySpan:
		from, to, ok := strings.Cut(text, "-")
		var err1, err2 error
		p.From, err1 = minutes(from)
		p.To, err2 = minutes(to)
		if !ok || err1 != nil || err2 != nil {
			return errors.New("is no part of a day such as 08:30-17:00")
		}
	case *telephony.NumberRange:
		p.First, p.Last, _ = strings.Cut(text, "..")
	case *time.Month:
		for m := time.January; m <= time.December; m++ {
			if strings.EqualFold(m.String(), text) {
				*p = m
				return nil
			}
		}
		return errors.New("is no month such as December")
	case encoding.TextUnmarshaler:
		if text == "" { // the zero value of addresses
			v.SetZero()
			return nil
		}
		if err := p.UnmarshalText([]byte(text)); err != nil {
			return fmt.Errorf("is no %s", strings.ToLower(v.Type().Name()))
		}
	}
	return err
}

// durationText is a duration without its zero parts.
func durationText(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

func clock(minute int) string { return fmt.Sprintf("%02d:%02d", minute/60, minute%60) }

func minutes(text string) (int, error) {
	h, m, ok := strings.Cut(strings.TrimSpace(text), ":")
	hours, err1 := strconv.Atoi(h)
	rest, err2 := strconv.Atoi(m)
	if !ok || err1 != nil || err2 != nil || hours < 0 || rest < 0 || rest > 59 || hours > 24 {
		return 0, errors.New("no time of day")
	}
	return hours*60 + rest, nil
}

// moneyText is an amount in units of the currency, exactly.
func moneyText(m telephony.Money) string {
	sign := ""
	u := uint64(m)
	if m < 0 {
		sign, u = "-", -u
	}
	text := fmt.Sprintf("%d.%06d", u/1e6, u%1e6)
	text = strings.TrimRight(text, "0")
	return sign + strings.TrimSuffix(text, ".")
}

func parseMoney(text string) (telephony.Money, error) {
	wrong := errors.New("is no amount such as 0.015, with at most six decimals")
	digits, negative := strings.CutPrefix(text, "-")
	whole, fraction, _ := strings.Cut(digits, ".")
	if len(fraction) > 6 || strings.Trim(whole+fraction, "0123456789") != "" || whole == "" {
		return 0, wrong
	}
	u, err := strconv.ParseUint(whole+fraction+strings.Repeat("0", 6-len(fraction)), 10, 64)
	if err != nil || u > math.MaxInt64 {
		return 0, wrong
	}
	if negative {
		return -telephony.Money(u), nil
	}
	return telephony.Money(u), nil
}
