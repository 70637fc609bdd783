package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/contraflow/contraflow/examples/shop/app"
)

// askTimeout for the shop's own pages: it answers in a millisecond, or it is in trouble.
const askTimeout = 2 * time.Second

// ShopStats are the shop's own counters.
func (s *Stack) ShopStats(ctx context.Context) (app.Stats, error) {
	var stats app.Stats
	err := s.askShop(ctx, http.MethodGet, "/stats", nil, &stats)
	return stats, err
}

// ArmFault makes the shop's health page fail from the next read in the new shape on. Customers are served as ever.
func (s *Stack) ArmFault(ctx context.Context) error {
	return s.askShop(ctx, http.MethodPost, "/debug/fault", map[string]string{"fault": app.FaultNewReads}, nil)
}

func (s *Stack) askShop(ctx context.Context, method, path string, in, out any) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(text)
	}
	request, err := http.NewRequestWithContext(ctx, method, s.Shop.URL+path, body)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("ask the shop: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode/100 != 2 {
		return fmt.Errorf("ask the shop for %s: status %d", path, response.StatusCode)
	}
	if out == nil {
		return nil
	}
	if err := json.NewDecoder(response.Body).Decode(out); err != nil {
		return fmt.Errorf("ask the shop for %s: %w", path, err)
	}
	return nil
}
