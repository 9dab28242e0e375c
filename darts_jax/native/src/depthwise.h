// Depthwise convolution: from the image, back to the image, and by the kernel.
//
// Rows of pixels are cut into vectors regardless of where pixels end (`Lanes`), so that any
// number of channels fills them. An output row is the sum, over taps, of a shifted input
// row times the tap's numbers, kept in registers for several vectors at a time.
#ifndef DARTS_JAX_DEPTHWISE_H_
#define DARTS_JAX_DEPTHWISE_H_

#include <initializer_list>

#include "parallel.h"
#include "window.h"

namespace darts {

// A row of pixels, and the vectors [tap across, kind, lane] that it is multiplied by.
template <class T>
struct TapRow {
  const T* pixels;
  const T* taps;
};

// Where the taps across find their pixels in a row, and their vectors.
struct TapColumn {
  int64_t pixel, tap;
};

// A sum of rows: every row of taps at every tap across.
template <class T>
class RowSum {
 public:
  void clear() { count_ = 0; }

  // Number by number: a pair that passes through memory is waited for at every row.
  void add(const T* pixels, const T* taps) {
    if (count_ == rows_.size()) rows_.resize(2 * count_ + 8);
    TapRow<T>& row = rows_[count_++];
    row.pixels = pixels;
    row.taps = taps;
  }

  const TapRow<T>* begin() const { return rows_.data(); }
  const TapRow<T>* end() const { return rows_.data() + count_; }

  const std::vector<TapColumn>* columns = nullptr;

 private:
  std::vector<TapRow<T>> rows_;
  size_t count_ = 0;
};

template <class T, int BLOCK>
void sum_block(const RowSum<T>& sum, int64_t begin, int64_t kind, int64_t period, T* out,
               int64_t size) {
  constexpr int V = kLanes<T>;
  const TapColumn* columns = sum.columns->data();
  const int64_t count = sum.columns->size();
  Vec<T, V> sums[BLOCK] = {};
  for (const TapRow<T>& row : sum) {
    const T* pixels = row.pixels + begin;
    const T* taps = row.taps + kind;
    for (int64_t c = 0; c < count; ++c) {
      const T* seen = pixels + columns[c].pixel;
      const Vec<T, V> tap = load<T, V>(taps + columns[c].tap);
#pragma GCC unroll 8
      for (int b = 0; b < BLOCK; ++b) sums[b] += load<T, V>(seen + b * period) * tap;
    }
  }
#pragma GCC unroll 8
  for (int b = 0; b < BLOCK; ++b) {
    const int64_t at = begin + b * period;
    store_part<T, V>(out + at, sums[b], size - at);
  }
}

// out[f] = the sum, for f in [0, size).
template <class T>
void sum_row(const RowSum<T>& sum, const Lanes& lanes, T* out, int64_t size) {
  const int64_t period = lanes.period;
  for (int64_t kind = 0; kind < period; kind += lanes.lanes) {
    int64_t f = kind;
    for (; f + 7 * period < size; f += 8 * period)
      sum_block<T, 8>(sum, f, kind, period, out, size);
    if (f + 3 * period < size) {
      sum_block<T, 4>(sum, f, kind, period, out, size);
      f += 4 * period;
    }
    for (; f < size; f += period) sum_block<T, 1>(sum, f, kind, period, out, size);
  }
}

template <class T>
std::vector<TapColumn> columns_of(const Phase& across, const Rows<T>& rows,
                                  const Lanes& lanes) {
  std::vector<TapColumn> columns;
  for (const Tap& tap : across.taps)
    columns.push_back({rows.offset(tap.offset), tap.number * lanes.period});
  return columns;
}

// Adds to a sum the rows that position r of a phase down sees; `stride` is that of taps
// [tap down, tap across, kind, lane].
template <class T>
void see(const Phase& down, int64_t r, Rows<T>& rows, const T* taps, int64_t stride,
         RowSum<T>& sum) {
  for (const Tap& tap : down.taps) {
    const int64_t row = r * down.step + tap.offset;
    if (rows.inside(row)) sum.add(rows.row(row), taps + tap.number * stride);
  }
}

struct Size {
  int64_t height, width;
};

// An image, and the taps [tap, kind, lane] that it is multiplied by.
template <class T>
struct Tapped {
  const T* image;
  const T* taps;
};

// Images of the result, phase by phase: each the sum over so many images of one size.
template <class T>
class DepthwiseMap {
 public:
  DepthwiseMap(int64_t images, Size size, const std::vector<Phase>& down,
               const std::vector<Phase>& across, int64_t kernel_width, const Lanes& lanes,
               int64_t to_width)
      : down_(down),
        across_(across),
        lanes_(lanes),
        stride_(kernel_width * lanes.period),
        width_(to_width),
        apart_(across[0].spacing > 1 ? to_width * lanes.channels : 0) {
    for (int64_t i = 0; i < images; ++i)
      rows_.emplace_back(size.height, size.width, lanes.channels,
                         Margin(across, size.width), across[0].step, rows_held(down),
                         lanes.lanes);
    for (const Phase& j : across) columns_.push_back(columns_of(j, rows_[0], lanes));
  }

  void image(const std::vector<Tapped<T>>& from, T* to) {
    const int64_t c = lanes_.channels;
    for (size_t k = 0; k < rows_.size(); ++k) rows_[k].begin(from[k].image);
    for (const Phase& i : down_)
      for (int64_t r = 0; r < i.count; ++r) {
        sum_.clear();
        for (size_t k = 0; k < rows_.size(); ++k)
          see(i, r, rows_[k], from[k].taps, stride_, sum_);
        for (size_t j = 0; j < across_.size(); ++j) {
          const Phase& beside = across_[j];
          sum_.columns = &columns_[j];
          T* out = to + (i.origin + r * i.spacing) * width_ * c;
          T* row = beside.spacing == 1 ? out : apart_.get();
          sum_row(sum_, lanes_, row, beside.count * c);
          for (int64_t p = 0; beside.spacing > 1 && p < beside.count; ++p)
            std::memcpy(out + (beside.origin + p * beside.spacing) * c, row + p * c,
                        c * sizeof(T));
        }
      }
  }

 private:
  const std::vector<Phase>&down_, &across_;
  const Lanes lanes_;
  const int64_t stride_, width_;
  std::vector<Rows<T>> rows_;
  std::vector<std::vector<TapColumn>> columns_;
  RowSum<T> sum_;
  Buffer<T> apart_;
};

// x [edge, batch, height, width, channel], kernel [edge, *taps, channel].
template <class T>
void depthwise(xla::ffi::ThreadPool& pool, const T* x, const T* kernel, int64_t edges,
               int64_t batch, int64_t channels, const Window& window, bool backward,
               T* result) {
  const auto phases = backward ? backward_phases : forward_phases;
  const auto down = phases(window.down), across = phases(window.across);
  const Size image{window.down.image, window.across.image};
  const Size output{window.down.output, window.across.output};
  const Size from = backward ? output : image, to = backward ? image : output;
  const Lanes lanes(channels, kLanes<T>);
  const Buffer<T> taps = lanes.spread(kernel, edges * window.taps());
  const auto make = [&] {
    return DepthwiseMap<T>(1, from, down, across, window.across.kernel, lanes, to.width);
  };
  parallel_for(pool, edges * batch, make, [&](auto& map, int64_t i) {
    map.image({{x + i * from.height * from.width * channels,
                taps.get() + i / batch * window.taps() * lanes.period}},
              result + i * to.height * to.width * channels);
  });
}

// sums[t] += row of tap t times y, over the vectors of one kind.
template <class T, int TAPS>
void correlate(const T* const* rows, const T* y, int64_t kind, int64_t period,
               int64_t size, T* sums) {
  constexpr int V = kLanes<T>;
  const T* row[TAPS];
  Vec<T, V> partial[TAPS];
#pragma GCC unroll 16
  for (int t = 0; t < TAPS; ++t) {
    row[t] = rows[t];
    partial[t] = load<T, V>(sums + kind + t * period);
  }
  for (int64_t f = kind; f < size; f += period) {
    const Vec<T, V> seen = load<T, V>(y + f);
#pragma GCC unroll 16
    for (int t = 0; t < TAPS; ++t) partial[t] += load<T, V>(row[t] + f) * seen;
  }
#pragma GCC unroll 16
  for (int t = 0; t < TAPS; ++t) store<T, V>(sums + kind + t * period, partial[t]);
}

template <class T>
void correlate_some(const T* const* rows, int64_t count, const T* y, int64_t kind,
                    int64_t period, int64_t size, T* sums) {
#define DARTS_CASE(n) \
  case n:             \
    return correlate<T, n>(rows, y, kind, period, size, sums)
  switch (count) {
    DARTS_CASE(1);
    DARTS_CASE(2);
    DARTS_CASE(3);
    DARTS_CASE(4);
    DARTS_CASE(5);
    DARTS_CASE(6);
    DARTS_CASE(7);
    DARTS_CASE(8);
    DARTS_CASE(9);
    DARTS_CASE(10);
    DARTS_CASE(11);
    DARTS_CASE(12);
    DARTS_CASE(13);
  }
#undef DARTS_CASE
}

constexpr int64_t kTapsAtOnce = 13;

// What is read of x for every tap of a row, and how it is added up with a row of y.
template <class T>
class Correlation {
 public:
  Correlation(const Window& window, const Lanes& lanes)
      : window_(window),
        lanes_(lanes),
        down_(forward_phases(window.down)[0]),
        across_(forward_phases(window.across)[0]),
        rows_(window.down.image, window.across.image, lanes.channels,
              Margin({across_}, window.across.image), across_.step, rows_held({down_}),
              lanes.lanes),
        columns_(columns_of(across_, rows_, lanes)),
        zeros_(rows_.length()),
        whole_y_(round_up(window.across.output * lanes.channels, lanes.period)),
        seen_(window.taps()) {}

  Rows<T>& rows() { return rows_; }

  // Adds row r of the outputs to sums [tap, kind, lane].
  void add(int64_t r, const T* y, T* sums) {
    const int64_t size = window_.across.output * lanes_.channels;
    const T** seen = seen_.data();
    for (const Tap& i : down_.taps) {
      const int64_t row = r * down_.step + i.offset;
      const T* data = rows_.inside(row) ? rows_.row(row) : zeros_.get();
      for (const TapColumn& j : columns_) *seen++ = data + j.pixel;
    }
    if (size % lanes_.period) {
      std::memcpy(whole_y_.get(), y, size * sizeof(T));
      y = whole_y_.get();
    }
    for (int64_t kind = 0; kind < lanes_.period; kind += lanes_.lanes)
      for (int64_t t = 0; t < window_.taps(); t += kTapsAtOnce)
        correlate_some<T>(seen_.data() + t, std::min(kTapsAtOnce, window_.taps() - t), y,
                          kind, lanes_.period, size, sums + t * lanes_.period);
  }

 private:
  const Window window_;
  const Lanes lanes_;
  const Phase down_, across_;
  Rows<T> rows_;
  const std::vector<TapColumn> columns_;
  Buffer<T> zeros_, whole_y_;
  std::vector<const T*> seen_;
};

template <class T>
void depthwise_kernel(xla::ffi::ThreadPool& pool, const T* x, const T* y, int64_t edges,
                      int64_t batch, int64_t channels, const Window& window, T* result) {
  const Lanes lanes(channels, kLanes<T>);
  const int64_t parts = std::min(batch, kParts), taps = window.taps();
  const int64_t image = window.down.image * window.across.image * channels;
  const int64_t row = window.across.output * channels;
  Buffer<T> sums(edges * parts * taps * lanes.period);
  parallel_for(pool, edges * parts, [&](int64_t p) {
    const int64_t edge = p / parts, part = p % parts;
    Correlation<T> correlation(window, lanes);
    for (int64_t n = part * batch / parts; n < (part + 1) * batch / parts; ++n) {
      correlation.rows().begin(x + (edge * batch + n) * image);
      for (int64_t r = 0; r < window.down.output; ++r)
        correlation.add(r, y + ((edge * batch + n) * window.down.output + r) * row,
                        sums.get() + p * taps * lanes.period);
    }
  });
  std::fill_n(result, edges * taps * channels, T(0));
  for (int64_t p = 0; p < edges * parts; ++p)
    lanes.gather(sums.get() + p * taps * lanes.period, taps,
                 result + p / parts * taps * channels);
}

}  // namespace darts

#endif  // DARTS_JAX_DEPTHWISE_H_
