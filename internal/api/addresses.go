package api

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"strings"

	"ringfence/internal/telephony"
)

func (s *Server) registerAddresses() {
	handle(s, operation{id: "get-addresses", method: http.MethodGet, path: "/addresses", tag: "box", summary: "Which addresses of the box phones are told", access: systemOnly}, s.getAddresses)
	handle(s, operation{id: "put-addresses", method: http.MethodPut, path: "/addresses", tag: "box", summary: "Change which addresses of the box phones are told; for messages and calls from now on", access: systemOnly}, s.putAddresses)
}

func (s *Server) getAddresses(context.Context, *noInput) (*body[Addresses], error) {
	settings := s.cfg.Store.Snapshot().Settings
	out := Addresses{
		PublicAddresses: []PublicAddress{}, AdvertiseAlways: settings.AdvertiseAlways, InsideNetworks: []string{}, Detected: []OwnAddress{}, Cloud: []PublicAddress{},
	}
	if settings.PublicAddress.IsValid() {
		out.PublicAddress = settings.PublicAddress.String()
	}
	for _, p := range settings.PublicAddresses {
		out.PublicAddresses = append(out.PublicAddresses, PublicAddress{Local: p.Local.String(), Public: p.Public.String()})
	}
	for _, n := range settings.InsideNetworks {
		out.InsideNetworks = append(out.InsideNetworks, n.String())
	}
	for _, p := range s.cfg.Live.Health().Public {
		own := ""
		if p.Local.IsValid() {
			own = p.Local.String()
		}
		out.Cloud = append(out.Cloud, PublicAddress{Local: own, Public: p.Public.String()})
	}
	for _, a := range s.cfg.Live.Addresses() {
		out.Detected = append(out.Detected, OwnAddress{
			Address: a.Addr.String(), Interface: a.Interface, Inside: settings.Inside(a.Addr), Outgoing: a.Outgoing,
		})
	}
	return &body[Addresses]{out}, nil
}

func (s *Server) putAddresses(ctx context.Context, in *body[AddressesUpdate]) (*body[Addresses], error) {
	err := s.changeSettings(ctx, func(settings *telephony.Settings) (err error) {
		settings.AdvertiseAlways = in.Body.AdvertiseAlways
		settings.PublicAddress = netip.Addr{}
		if text := strings.TrimSpace(in.Body.PublicAddress); text != "" {
			if settings.PublicAddress, err = address("public_address", text); err != nil {
				return err
			}
		}
		if settings.PublicAddresses, err = publicAddresses(in.Body.PublicAddresses); err != nil {
			return err
		}
		settings.InsideNetworks, err = networks(in.Body.InsideNetworks)
		return err
	})
	if err != nil {
		return nil, err
	}
	return s.getAddresses(ctx, nil)
}

func publicAddresses(in []PublicAddress) ([]telephony.PublicAddress, error) {
	out := []telephony.PublicAddress{}
	for i, p := range in {
		local, err := address(fmt.Sprintf("public_addresses[%d].local", i), p.Local)
		if err != nil {
			return nil, err
		}
		public, err := address(fmt.Sprintf("public_addresses[%d].public", i), p.Public)
		if err != nil {
			return nil, err
		}
		out = append(out, telephony.PublicAddress{Local: local, Public: public})
	}
	return out, nil
}

func address(field, text string) (netip.Addr, error) {
	a, err := netip.ParseAddr(strings.TrimSpace(text))
	if err != nil {
		return a, &telephony.FieldError{Field: field, Reason: "must be an IP address such as 203.0.113.7; names are not looked up"}
	}
	return a, nil
}

// networks reads networks; a single address is a network of its own.
func networks(in []string) ([]netip.Prefix, error) {
	out := []netip.Prefix{}
	for i, text := range in {
		text = strings.TrimSpace(text)
		n, err := netip.ParsePrefix(text)
		if a, alone := netip.ParseAddr(text); err != nil && alone == nil && a.Zone() == "" {
			n, err = netip.PrefixFrom(a, a.BitLen()), nil
		}
		if err != nil {
			return nil, &telephony.FieldError{Field: "inside_networks", Reason: fmt.Sprintf("entry %d is not a network such as 192.168.0.0/16", i+1)}
		}
		out = append(out, n)
	}
	return out, nil
}
