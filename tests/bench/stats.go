package main

import (
	"math"
	"slices"
)

// sample is one number measured again and again.
type sample []float64

// median is the middle, or the mean of the two in the middle; NaN of nothing.
func (s sample) median() float64 {
	if len(s) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(s))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}

// percentile is the smallest number that at least p percent of the sample do not exceed (nearest rank); NaN of nothing.
func (s sample) percentile(p float64) float64 {
	if len(s) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(s))
	rank := int(math.Ceil(p / 100 * float64(len(sorted))))
	return sorted[min(max(rank, 1), len(sorted))-1]
}

func (s sample) max() float64 { return slices.Max(s) }
func (s sample) min() float64 { return slices.Min(s) }

func (s sample) sum() (total float64) {
	for _, v := range s {
		total += v
	}
	return total
}
