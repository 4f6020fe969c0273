package presence

import (
	"slices"
	"strings"
	"time"

	"ringfence/internal/sip"
	"ringfence/internal/telephony"
)

// maxPublications bounds the devices that publish for one extension; the oldest
// gives way.
const maxPublications = 10

// publication is one device's event state (RFC 3903 section 4).
type publication struct {
	tag     string // entity-tag
	status  status
	at      time.Time
	expires time.Time
}

// publish handles PUBLISH (RFC 3903 section 6).
func (s *Service) publish(tx *sip.ServerTx, tenant telephony.Tenant, who telephony.Extension) {
	r := tx.Request()
	if eventName(r) != presenceEvent {
		tx.Reply(*badEvent())
		return
	}
	e, ok := s.target(tx, tenant)
	if !ok {
		return
	}
	if e.number != who.Number {
		tx.Reply(sip.Reply{Code: 403}) // people speak for themselves
		return
	}
	life, refusal := s.lifetime(r)
	if refusal != nil {
		tx.Reply(*refusal)
		return
	}
	etag := strings.TrimSpace(r.Header("SIP-If-Match"))
	st, refusal := published(r, etag)
	if refusal != nil {
		tx.Reply(*refusal)
		return
	}
	if tx.Begin(nil) != nil {
		return
	}
	tag, code := s.store(e, etag, st, life)
	if code != 200 {
		tx.Reply(sip.Reply{Code: code})
		return
	}
	tx.Reply(sip.Reply{Code: 200, Headers: []sip.Header{{Name: "SIP-ETag", Value: tag}, {Name: "Expires", Value: seconds(life)}}})
	s.lookAt(resourceKey{e, presenceEvent})
}

// published reads the document of a PUBLISH; nil if it only refreshes or
// removes one.
func published(r *sip.Request, etag string) (*status, *sip.Reply) {
	if len(r.Body) == 0 {
		if etag == "" {
			return nil, &sip.Reply{Code: 400, Reason: "Missing Body"}
		}
		return nil, nil
	}
	accept := []sip.Header{{Name: "Accept", Value: pidfType}}
	if r.ContentType() != pidfType {
		return nil, &sip.Reply{Code: 415, Headers: accept}
	}
	if len(r.Body) > maxDocument {
		return nil, &sip.Reply{Code: 413}
	}
	st, err := parsePIDF(r.Body)
	if err != nil {
		return nil, &sip.Reply{Code: 400, Reason: "Malformed Document"}
	}
	return &st, nil
}

// store creates, changes, refreshes or removes a publication; each success
// gives it a new entity-tag (RFC 3903 section 6, steps 4 to 8).
func (s *Service) store(e extension, etag string, st *status, life time.Duration) (tag string, code int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	list := slices.Clone(s.published[e])
	p := publication{tag: sip.NewTag(), at: now, expires: now.Add(life)}
	if etag != "" {
		i := slices.IndexFunc(list, func(x publication) bool { return x.tag == etag && x.expires.After(now) })
		if i < 0 {
			return "", 412
		}
		p.status = list[i].status
		s.notePublished(e, list[i], true)
		list = slices.Delete(list, i, i+1)
		s.nPublish--
	}
	if st != nil {
		p.status = *st
	}
	if life > 0 {
		if len(list) >= maxPublications {
			s.notePublished(e, list[0], true)
			list = slices.Delete(list, 0, 1)
			s.nPublish--
		}
		if s.nPublish >= s.c.Publications {
			return "", 503
		}
		s.notePublished(e, p, false)
		list = append(list, p)
		s.nPublish++
	}
	if s.published[e] = list; len(list) == 0 {
		delete(s.published, e)
	}
	return p.tag, 200
}

// expirePublished removes what nobody refreshed, and names what that changes. The
// database forgets by itself what has expired. The lock is held.
func (s *Service) expirePublished(now time.Time) []resourceKey {
	var changed []resourceKey
	for e, list := range s.published {
		left := slices.DeleteFunc(slices.Clone(list), func(p publication) bool { return !p.expires.After(now) })
		if len(left) == len(list) {
			continue
		}
		s.nPublish -= len(list) - len(left)
		if s.published[e] = left; len(left) == 0 {
			delete(s.published, e)
		}
		changed = append(changed, resourceKey{e, presenceEvent})
	}
	return changed
}
