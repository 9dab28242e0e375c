// Sums over the pixels of every channel.
#pragma once

#include <cmath>
#include <vector>

#include "parallel.h"
#include "vectors.h"

namespace darts {

// Numbers that are added up in registers before they join a sum of wider numbers.
constexpr int64_t kRun = 1 << 13;

// Adds up by channel what terms(numbers, kind, terms) makes of numbers of the arrays:
// totals [sum, channel].
template <class T, int ARRAYS, int SUMS, class Terms>
void add_sums(const T* const (&arrays)[ARRAYS], int64_t size, const Lanes& lanes,
              double* totals, const Terms& terms) {
  constexpr int V = kLanes<T>, kAtOnce = SUMS > 2 ? 2 : 4;  // as registers suffice
  const int64_t run = round_up(kRun, kAtOnce * lanes.period);
  for (int64_t kind = 0; kind < lanes.period; kind += V)
    for (int64_t begin = 0; begin < size; begin += run) {
      const int64_t end = std::min(size, begin + run);
      Vec<T, V> sums[SUMS][kAtOnce] = {};
      const auto add = [&](int64_t f, int u) {
        Vec<T, V> numbers[ARRAYS], made[SUMS];
#pragma GCC unroll 8
        for (int a = 0; a < ARRAYS; ++a) numbers[a] = load<T, V>(arrays[a] + f);
        terms(numbers, kind, made);
#pragma GCC unroll 8
        for (int s = 0; s < SUMS; ++s) sums[s][u] += made[s];
      };
      int64_t f = begin + kind;
      for (; f + (kAtOnce - 1) * lanes.period + V <= end; f += kAtOnce * lanes.period)
#pragma GCC unroll 4
        for (int u = 0; u < kAtOnce; ++u) add(f + u * lanes.period, u);
      for (; f + V <= end; f += lanes.period) add(f, 0);
      Vec<T, V> all[SUMS];
      for (int s = 0; s < SUMS; ++s) {
        all[s] = sums[s][0] + sums[s][1];
        if constexpr (kAtOnce > 2) all[s] += sums[s][2] + sums[s][3];
      }
      if (f < end) {  // a part of a vector
        Vec<T, V> numbers[ARRAYS], made[SUMS];
        for (int a = 0; a < ARRAYS; ++a)
          numbers[a] = load_part<T, V>(arrays[a] + f, end - f);
        terms(numbers, kind, made);
        for (int s = 0; s < SUMS; ++s)
          for (int64_t l = 0; l < end - f; ++l) all[s][l] += made[s][l];
      }
      for (int s = 0; s < SUMS; ++s)
        for (int64_t l = 0; l < V; ++l)
          totals[s * lanes.channels + (kind + l) % lanes.channels] += all[s][l];
    }
}

constexpr int64_t kSumParts = 8;

// The same of arrays [pixel, channel], added up in parts of fixed size.
template <class T, int SUMS, int ARRAYS, class Terms>
std::vector<double> sums_of(xla::ffi::ThreadPool& pool, const T* const (&arrays)[ARRAYS],
                            int64_t pixels, const Lanes& lanes, const Terms& terms) {
  const int64_t c = lanes.channels;
  const int64_t parts = pixels * c < 4 * kRun ? 1 : kSumParts;
  std::vector<double> partial(parts * SUMS * c), totals(SUMS * c);
  parallel_for(pool, parts, [&](int64_t p) {
    const int64_t begin = p * pixels / parts * c, end = (p + 1) * pixels / parts * c;
    const T* of_part[ARRAYS];
    for (int a = 0; a < ARRAYS; ++a) of_part[a] = arrays[a] + begin;
    add_sums<T, ARRAYS, SUMS>(of_part, end - begin, lanes, partial.data() + p * SUMS * c,
                              terms);
  });
  for (int64_t p = 0; p < parts; ++p)
    for (int64_t i = 0; i < SUMS * c; ++i) totals[i] += partial[p * SUMS * c + i];
  return totals;
}

// Sums of the distances of numbers from an origin, and of their squares, by channel:
// part by part, so that parts can be made by any thread and join in their order.
// Origins are the means of guessed moments [edge, 2, channel].
template <class T>
class Deviations {
 public:
  // Every edge has as many parts, one after the other.
  Deviations(const T* guess, int64_t edges, int64_t parts, int64_t channels)
      : guess_(guess),
        edges_(edges),
        parts_(parts),
        lanes_(channels, kLanes<T>),
        origins_(lanes_.spread(guess, 2 * edges)),
        totals_(parts * 2 * channels) {}

  // Numbers [pixel, channel] of a part, which belongs to an edge.
  void add(int64_t part, int64_t edge, const T* numbers, int64_t size) {
    constexpr int V = kLanes<T>;
    const T* origin = origins_.get() + 2 * edge * lanes_.period;
    const T* const arrays[] = {numbers};
    add_sums<T, 1, 2>(arrays, size, lanes_, totals_.data() + part * 2 * lanes_.channels,
                      [origin](auto& x, int64_t kind, auto& terms) {
                        const Vec<T, V> distance = x[0] - load<T, V>(origin + kind);
                        terms[0] = distance;
                        terms[1] = distance * distance;
                      });
  }

  // Mean and biased variance [edge, 2, channel] of so many pixels of each edge.
  void moments(int64_t pixels, T* result) const {
    const int64_t c = lanes_.channels, of_edge = parts_ / edges_;
    for (int64_t e = 0; e < edges_; ++e)
      for (int64_t k = 0; k < c; ++k) {
        double sum = 0, squares = 0;
        for (int64_t p = e * of_edge; p < (e + 1) * of_edge; ++p) {
          sum += totals_[p * 2 * c + k];
          squares += totals_[(p * 2 + 1) * c + k];
        }
        const double mean = sum / pixels;
        result[e * 2 * c + k] = T(guess_[e * 2 * c + k] + mean);
        const double variance = squares / pixels - mean * mean;
        result[(e * 2 + 1) * c + k] = T(variance < 0 ? 0 : variance);  // NaN stays
      }
  }

 private:
  const T* guess_;
  int64_t edges_, parts_;
  Lanes lanes_;
  Buffer<T> origins_;
  std::vector<double> totals_;
};

// Mean and biased variance of every channel: result [edge, 2, channel]. Numbers are taken
// relative to a guess, so that a mean far from zero cancels few digits.
template <class T>
void moments(xla::ffi::ThreadPool& pool, const T* x, const T* guess, int64_t edges,
             int64_t pixels, int64_t channels, T* result) {
  const int64_t parts = pixels * channels < 4 * kRun ? 1 : kSumParts;
  Deviations<T> deviations(guess, edges, edges * parts, channels);
  parallel_for(pool, edges * parts, [&](int64_t i) {
    const int64_t e = i / parts, p = i % parts;
    const int64_t begin = p * pixels / parts, end = (p + 1) * pixels / parts;
    deviations.add(i, e, x + (e * pixels + begin) * channels, (end - begin) * channels);
  });
  deviations.moments(pixels, result);
}

// Sums of a and of a * b by channel: result [edge, 2, channel].
template <class T>
void channel_sums(xla::ffi::ThreadPool& pool, const T* a, const T* b, int64_t edges,
                  int64_t pixels, int64_t channels, T* result) {
  const Lanes lanes(channels, kLanes<T>);
  for (int64_t e = 0; e < edges; ++e) {
    const int64_t begin = e * pixels * channels;
    const T* const arrays[] = {a + begin, b + begin};
    const auto totals = sums_of<T, 2>(pool, arrays, pixels, lanes,
                                      [](auto& of, int64_t, auto& terms) {
                                        terms[0] = of[0];
                                        terms[1] = of[0] * of[1];
                                      });
    std::copy(totals.begin(), totals.end(), result + e * 2 * channels);
  }
}

}  // namespace darts
