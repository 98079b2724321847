package api

import (
	"net/http"
	"net/netip"
	"strings"
)

// clientAddress is where a request comes from: who is connected, or, when that is a trusted proxy, who it says asked. Of
// several addresses the last one counts that no trusted proxy has: what stands before it anybody can write.
func (a *API) clientAddress(r *http.Request) netip.Addr {
	connected, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	address := connected.Addr().Unmap().WithZone("")
	if !a.trusted(address) {
		return address
	}
	chain := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(chain) - 1; i >= 0; i-- {
		forwarded, ok := parseForwarded(chain[i])
		if !ok {
			return address
		}
		if address = forwarded; !a.trusted(address) {
			return address
		}
	}
	return address
}

func (a *API) trusted(address netip.Addr) bool {
	for _, network := range a.tuning.Load().TrustedProxies {
		if network.Contains(address) {
			return true
		}
	}
	return false
}

// parseForwarded reads an element of X-Forwarded-For. Some proxies write a port.
func parseForwarded(text string) (netip.Addr, bool) {
	text = strings.TrimSpace(text)
	if withPort, err := netip.ParseAddrPort(text); err == nil {
		return withPort.Addr().Unmap().WithZone(""), true
	}
	address, err := netip.ParseAddr(strings.Trim(text, "[]"))
	return address.Unmap().WithZone(""), err == nil
}
