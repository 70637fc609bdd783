package health

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"syscall"
	"time"
)

const (
	// defaultHTTPTimeout: a health page that takes longer does not answer as far as its users are concerned.
	defaultHTTPTimeout = 3 * time.Second
	// maxRedirects is enough for a move to https and a trailing slash, and ends a loop early.
	maxRedirects = 5
)

// HTTPProbe gets a page and looks at the status alone; the body is never read. Any other status fails, and so do a refused
// or broken connection, a time-out and a redirect loop, since all of them say that the application does not answer. Only a
// host name that cannot be resolved is an error: that says nothing about the application.
type HTTPProbe struct {
	// URL is absolute, http or https.
	URL string
	// Status that passes. A redirect is followed (5 at most) unless Status is itself 3xx. Defaults to 200.
	Status int
	// Timeout for the whole exchange. Defaults to 3 s.
	Timeout time.Duration
}

type httpProber struct {
	HTTPProbe
	client *http.Client
}

var errTooManyRedirects = fmt.Errorf("more than %d redirects", maxRedirects)

func newHTTPProber(p HTTPProbe, client *http.Client) (*httpProber, error) {
	// The URL stays out of every text: its query may hold a token.
	u, err := url.Parse(p.URL)
	switch {
	case err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https"):
		return nil, errors.New("http: the url must be absolute, as in http://127.0.0.1:8080/healthz")
	case p.Status != 0 && (p.Status < 200 || p.Status > 599):
		return nil, errors.New("http: status must be from 200 to 599")
	case p.Timeout < 0:
		return nil, errors.New("http: timeout must not be negative")
	}
	p.Status = cmp.Or(p.Status, http.StatusOK)
	p.Timeout = cmp.Or(p.Timeout, defaultHTTPTimeout)
	own := *cmp.Or(client, http.DefaultClient)
	own.CheckRedirect = func(_ *http.Request, via []*http.Request) error {
		if p.Status/100 == 3 {
			return http.ErrUseLastResponse
		}
		if len(via) > maxRedirects {
			return errTooManyRedirects
		}
		return nil
	}
	return &httpProber{p, &own}, nil
}

func (p *httpProber) Probe(ctx context.Context) (Reading, error) {
	ctx, cancel := context.WithTimeout(ctx, p.Timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.URL, nil)
	if err != nil {
		return Reading{}, errors.New("the request could not be made: look at the url")
	}
	response, err := p.client.Do(request)
	if err != nil {
		return p.unanswered(ctx, err)
	}
	_ = response.Body.Close()
	if response.StatusCode != p.Status {
		return Reading{Text: fmt.Sprintf("status %d, must be %d", response.StatusCode, p.Status)}, nil
	}
	return Reading{Text: fmt.Sprintf("status %d", response.StatusCode), Pass: true}, nil
}

func (p *httpProber) unanswered(ctx context.Context, err error) (Reading, error) {
	if _, ok := errors.AsType[*net.DNSError](err); ok {
		return Reading{}, errors.New("the host name of the url cannot be resolved from here")
	}
	network, isNetwork := errors.AsType[net.Error](err)
	switch {
	case errors.Is(err, errTooManyRedirects):
		return Reading{Text: errTooManyRedirects.Error()}, nil
	case errors.Is(ctx.Err(), context.DeadlineExceeded) || isNetwork && network.Timeout():
		return Reading{Text: fmt.Sprintf("no answer within %s", p.Timeout)}, nil
	case errors.Is(err, syscall.ECONNREFUSED):
		return Reading{Text: "no answer: connection refused"}, nil
	}
	return Reading{Text: "no answer: the connection broke"}, nil
}
