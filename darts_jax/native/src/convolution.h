// Dense convolution: from the image, back to the image, and by the kernel.
//
// A row of output pixels is a sum of matrix products, one for each tap. Several pixels by
// all lanes of one or two vectors of features are kept in registers.
#ifndef DARTS_JAX_CONVOLUTION_H_
#define DARTS_JAX_CONVOLUTION_H_

#include "parallel.h"
#include "window.h"

namespace darts {

// Pixels of a row, `stride` numbers apart, and their matrix [from, padded to]. Or kThree of
// these: each of the others takes the next pixel, and its matrix lies `apart` behind.
template <class T>
struct Product {
  const T* pixels;
  const T* matrix;
  int64_t apart = 0;
};

constexpr int64_t kThree = 3;

template <class T>
struct RowOf {
  const Product<T>* products;
  int64_t count, from, stride;  // products, features read, numbers from pixel to pixel
  int64_t padded;               // columns of the matrices
  T* out;
  int64_t to, spacing;  // features written, numbers from pixel to pixel
};

// Three products. Every number read serves three pixels, where it is loads that products
// wait for.
template <class T, int V, int COLUMNS, int PIXELS>
inline void three_products(const RowOf<T>& row, const T* pixels, const T* matrix,
                           int64_t apart, Vec<T, V> (&sums)[PIXELS][COLUMNS]) {
  for (int64_t k = 0; k < row.from; ++k) {
    Vec<T, V> weights[kThree][COLUMNS];
#pragma GCC unroll 3
    for (int t = 0; t < kThree; ++t)
#pragma GCC unroll 4
      for (int c = 0; c < COLUMNS; ++c)
        weights[t][c] = load<T, V>(matrix + t * apart + k * row.padded + c * V);
#pragma GCC unroll 18
    for (int p = 0; p < PIXELS + kThree - 1; ++p) {
      const T number = pixels[p * row.stride + k];
#pragma GCC unroll 3
      for (int t = 0; t < kThree; ++t)
#pragma GCC unroll 4
        for (int c = 0; c < COLUMNS; ++c)
          if (p - t >= 0 && p - t < PIXELS) sums[p - t][c] += number * weights[t][c];
    }
  }
}

template <class T, int V, int COLUMNS, int PIXELS>
inline void product_block(const RowOf<T>& row, int64_t pixel, int64_t column) {
  Vec<T, V> sums[PIXELS][COLUMNS] = {};
  for (int64_t t = 0; t < row.count; ++t) {
    const T* pixels = row.products[t].pixels + pixel * row.stride;
    const T* matrix = row.products[t].matrix + column;
    if (const int64_t apart = row.products[t].apart) {
      three_products<T, V, COLUMNS, PIXELS>(row, pixels, matrix, apart, sums);
      continue;
    }
    for (int64_t k = 0; k < row.from; ++k) {
      Vec<T, V> weights[COLUMNS];
#pragma GCC unroll 4
      for (int c = 0; c < COLUMNS; ++c)
        weights[c] = load<T, V>(matrix + k * row.padded + c * V);
#pragma GCC unroll 16
      for (int p = 0; p < PIXELS; ++p) {
        const T number = pixels[p * row.stride + k];
#pragma GCC unroll 4
        for (int c = 0; c < COLUMNS; ++c) sums[p][c] += number * weights[c];
      }
    }
  }
#pragma GCC unroll 16
  for (int p = 0; p < PIXELS; ++p) {
    T* out = row.out + (pixel + p) * row.spacing + column;
#pragma GCC unroll 4
    for (int c = 0; c < COLUMNS; ++c)
      store_part<T, V>(out + c * V, sums[p][c], row.to - column - c * V);
  }
}

template <class T, int V, int COLUMNS, int PIXELS>
void product_columns(const RowOf<T>& row, int64_t pixels, int64_t column) {
  int64_t p = 0;
  for (; p + PIXELS <= pixels; p += PIXELS)
    product_block<T, V, COLUMNS, PIXELS>(row, p, column);
  if (p + 4 <= pixels && PIXELS > 4)
    for (; p + 4 <= pixels; p += 4) product_block<T, V, COLUMNS, 4>(row, p, column);
  for (; p < pixels; ++p) product_block<T, V, COLUMNS, 1>(row, p, column);
}

template <class T, int V>
void product_row(const RowOf<T>& row, int64_t pixels) {
  int64_t column = 0;
  for (; column + 2 * V <= row.padded; column += 2 * V)
    product_columns<T, V, 2, 8>(row, pixels, column);
  if (column < row.padded) product_columns<T, V, 1, 16>(row, pixels, column);
}

// The kernel [tap, from, to] as matrices [tap, from, padded to]; for the way back, each
// transposed.
template <class T>
Buffer<T> packed(const T* kernel, int64_t taps, int64_t from, int64_t to, bool transpose,
                 int64_t padded) {
  Buffer<T> matrices(taps * from * padded);
  for (int64_t t = 0; t < taps; ++t)
    for (int64_t f = 0; f < from; ++f)
      for (int64_t o = 0; o < to; ++o)
        matrices.get()[(t * from + f) * padded + o] =
            kernel[t * from * to + (transpose ? o * from + f : f * to + o)];
  return matrices;
}

// Calls f with the number of lanes that suits so many features: no wider than they need.
template <class T, class F>
void with_lanes(int64_t features, const F& f) {
  constexpr int V = kLanes<T>;
  if constexpr (V > 4)
    if (features <= V / 4) return f(std::integral_constant<int, V / 4>());
  if constexpr (V > 2)
    if (features <= V / 2) return f(std::integral_constant<int, V / 2>());
  f(std::integral_constant<int, V>());
}

template <class T, class F>
void with_both_lanes(int64_t from, int64_t to, const F& f) {
  with_lanes<T>(from, [&](auto back) {
    with_lanes<T>(to, [&](auto v) { f(back, v); });
  });
}

// Pixels that a call of its own computes, where there are no rows to heed.
constexpr int64_t kPixels = 1024;

// 1x1 kernels: one product of all pixels.
template <class T, int V>
void pointwise(xla::ffi::ThreadPool& pool, const T* x, const T* matrix, int64_t pixels,
               int64_t from, int64_t to, int64_t padded, T* result) {
  parallel_for(pool, (pixels + kPixels - 1) / kPixels, [&](int64_t i) {
    const int64_t begin = i * kPixels, count = std::min(kPixels, pixels - begin);
    const Product<T> product{x + begin * from, matrix};
    product_row<T, V>({&product, 1, from, from, padded, result + begin * to, to, to},
                      count);
  });
}

// Rows of an image, and the matrices [tap, from, padded to] that its taps multiply.
template <class T>
struct Seen {
  Rows<T>& rows;
  const T* matrices;
};

// The first of three taps beside each other, if that is what they are.
inline const Tap* first_of_three(const Phase& across) {
  const std::vector<Tap>& taps = across.taps;
  if (across.step != 1 || taps.size() != kThree) return nullptr;
  const int64_t step = taps[1].offset - taps[0].offset;
  if (std::abs(step) != 1 || taps[2].offset - taps[1].offset != step) return nullptr;
  return step > 0 ? &taps[0] : &taps[2];
}

// One image of the result, phase by phase: the sum over what is seen.
template <class T, int V>
void conv_image(const std::vector<Seen<T>>& all_seen, int64_t from,
                const std::vector<Phase>& down, const std::vector<Phase>& across,
                int64_t kernel_width, int64_t padded, T* result, int64_t result_width,
                int64_t to) {
  const int64_t size = from * padded;
  std::vector<Product<T>> products;
  for (const Phase& i : down)
    for (int64_t r = 0; r < i.count; ++r)
      for (const Phase& j : across) {
        const Tap* three = first_of_three(j);
        products.clear();
        for (const Seen<T>& seen : all_seen)
          for (const Tap& tap : i.taps) {
            const int64_t row = r * i.step + tap.offset;
            if (!seen.rows.inside(row)) continue;
            const T* data = seen.rows.row(row);
            const T* matrices = seen.matrices + tap.number * kernel_width * size;
            if (three) {
              const int64_t apart = (j.taps[1].number - three->number) * size;
              products.push_back({data + seen.rows.offset(three->offset),
                                  matrices + three->number * size, apart});
              continue;
            }
            for (const Tap& beside : j.taps)
              products.push_back({data + seen.rows.offset(beside.offset),
                                  matrices + beside.number * size});
          }
        T* out = result + ((i.origin + r * i.spacing) * result_width + j.origin) * to;
        product_row<T, V>({products.data(), int64_t(products.size()), from, j.step * from,
                           padded, out, to, j.spacing * to},
                          j.count);
      }
}

// Rows for taps of dense convolutions, whose pixels are read at the stride.
template <class T>
Rows<T> dense_rows(int64_t height, int64_t width, int64_t channels,
                   const std::vector<Phase>& down, const std::vector<Phase>& across) {
  return Rows<T>(height, width, channels, Margin(across, width), 1, rows_held(down), 0);
}

// x [edge, batch, *side, from], kernel [edge, *taps, in, out].
template <class T>
void conv(xla::ffi::ThreadPool& pool, const T* x, const T* kernel, int64_t edges,
          int64_t batch, int64_t from, int64_t to, const Window& window, bool backward,
          T* result) {
  with_lanes<T>(to, [&](auto lanes) {
    constexpr int V = lanes;
    const auto phases = backward ? backward_phases : forward_phases;
    const auto down = phases(window.down), across = phases(window.across);
    int64_t height = window.down.image, width = window.across.image;
    int64_t rows = window.down.output, columns = window.across.output;
    if (backward) {
      std::swap(height, rows);
      std::swap(width, columns);
    }
    const int64_t padded = round_up(to, V), taps = window.taps();
    const Buffer<T> matrices = packed(kernel, edges * taps, from, to, backward, padded);
    const int64_t size = taps * from * padded;
    const bool plain = taps == 1 && height == rows && width == columns;
    for (int64_t e = 0; plain && e < edges; ++e) {
      const int64_t pixels = batch * height * width;
      pointwise<T, V>(pool, x + e * pixels * from, matrices.get() + e * size, pixels, from,
                      to, padded, result + e * pixels * to);
    }
    if (plain) return;
    parallel_for(pool, edges * batch, [&](int64_t i) {
      Rows<T> seen = dense_rows<T>(height, width, from, down, across);
      seen.begin(x + i * height * width * from);
      conv_image<T, V>({{seen, matrices.get() + i / batch * size}}, from, down, across,
                       window.across.kernel, padded, result + i * rows * columns * to,
                       columns, to);
    });
  });
}

// sums [from, padded to] += x^T y over pixels.
template <class T, int V, int COLUMNS, int FROM>
inline void outer_block(const T* x, int64_t stride, const T* y, int64_t to,
                        int64_t pixels, T* sums, int64_t padded) {
  Vec<T, V> partial[FROM][COLUMNS];
#pragma GCC unroll 16
  for (int k = 0; k < FROM; ++k)
#pragma GCC unroll 4
    for (int c = 0; c < COLUMNS; ++c)
      partial[k][c] = load<T, V>(sums + k * padded + c * V);
  for (int64_t p = 0; p < pixels; ++p) {
    Vec<T, V> seen[COLUMNS];
#pragma GCC unroll 4
    for (int c = 0; c < COLUMNS; ++c) seen[c] = load<T, V>(y + p * to + c * V);
#pragma GCC unroll 16
    for (int k = 0; k < FROM; ++k) {
      const T number = x[p * stride + k];
#pragma GCC unroll 4
      for (int c = 0; c < COLUMNS; ++c) partial[k][c] += number * seen[c];
    }
  }
#pragma GCC unroll 16
  for (int k = 0; k < FROM; ++k)
#pragma GCC unroll 4
    for (int c = 0; c < COLUMNS; ++c)
      store<T, V>(sums + k * padded + c * V, partial[k][c]);
}

template <class T, int V, int COLUMNS, int FROM>
void outer_columns(const T* x, int64_t from, int64_t stride, const T* y, int64_t to,
                   int64_t pixels, T* sums, int64_t padded) {
  int64_t k = 0;
  for (; k + FROM <= from; k += FROM)
    outer_block<T, V, COLUMNS, FROM>(x + k, stride, y, to, pixels, sums + k * padded,
                                     padded);
  for (; k + 4 <= from; k += 4)
    outer_block<T, V, COLUMNS, 4>(x + k, stride, y, to, pixels, sums + k * padded, padded);
  for (; k < from; ++k)
    outer_block<T, V, COLUMNS, 1>(x + k, stride, y, to, pixels, sums + k * padded, padded);
}

// y's rows are `padded` wide.
template <class T, int V>
void outer(const T* x, int64_t from, int64_t stride, const T* y, int64_t pixels, T* sums,
           int64_t padded) {
  int64_t column = 0;
  for (; column + 2 * V <= padded; column += 2 * V)
    outer_columns<T, V, 2, 8>(x, from, stride, y + column, padded, pixels, sums + column,
                              padded);
  if (column < padded)
    outer_columns<T, V, 1, 16>(x, from, stride, y + column, padded, pixels, sums + column,
                               padded);
}

// Pixels of features, their rows made as wide as vectors need.
template <class T>
const T* widened(const T* y, int64_t pixels, int64_t to, int64_t padded,
                 Buffer<T>& buffer) {
  if (to == padded) return y;
  for (int64_t p = 0; p < pixels; ++p)
    std::memcpy(buffer.get() + p * padded, y + p * to, to * sizeof(T));
  return buffer.get();
}

// Adds an image's part to sums [tap, from, padded to].
template <class T, int V>
void conv_kernel_image(Rows<T>& rows, const T* y, const Window& window, int64_t from,
                       int64_t to, Buffer<T>& wide, T* sums, int64_t padded) {
  const auto down = forward_phases(window.down), across = forward_phases(window.across);
  const int64_t width = window.across.output;
  for (int64_t r = 0; r < window.down.output; ++r) {
    const T* row_y = widened(y + r * width * to, width, to, padded, wide);
    for (const Tap& i : down[0].taps) {
      const int64_t row = r * window.down.stride + i.offset;
      if (!rows.inside(row)) continue;
      const T* data = rows.row(row);
      for (const Tap& j : across[0].taps)
        outer<T, V>(data + rows.offset(j.offset), from, window.across.stride * from, row_y,
                    width,
                    sums + (i.number * window.across.kernel + j.number) * from * padded,
                    padded);
    }
  }
}

// to [row, column] += from [row, padded column].
template <class T>
void add_narrowed(const T* from, int64_t rows, int64_t columns, int64_t padded, T* to) {
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < columns; ++c) to[r * columns + c] += from[r * padded + c];
}

template <class T>
void conv_kernel(xla::ffi::ThreadPool& pool, const T* x, const T* y, int64_t edges,
                 int64_t batch, int64_t from, int64_t to, const Window& window,
                 T* result) {
  with_lanes<T>(to, [&](auto lanes) {
    constexpr int V = lanes;
    const int64_t padded = round_up(to, V), taps = window.taps();
    const int64_t parts = std::min(batch, kParts), size = taps * from * padded;
    const int64_t pixels = window.pixels(), outputs = window.outputs();
    const bool plain = taps == 1 && pixels == outputs;
    Buffer<T> sums(edges * parts * size);
    parallel_for(pool, edges * parts, [&](int64_t p) {
      const int64_t edge = p / parts, part = p % parts;
      Rows<T> rows = dense_rows<T>(window.down.image, window.across.image, from,
                                   forward_phases(window.down),
                                   forward_phases(window.across));
      Buffer<T> wide(plain ? outputs * padded : window.across.output * padded);
      for (int64_t n = part * batch / parts; n < (part + 1) * batch / parts; ++n) {
        const T* image = x + (edge * batch + n) * pixels * from;
        const T* output = y + (edge * batch + n) * outputs * to;
        T* mine = sums.get() + p * size;
        if (plain) {
          outer<T, V>(image, from, from, widened(output, outputs, to, padded, wide),
                      outputs, mine, padded);
          continue;
        }
        rows.begin(image);
        conv_kernel_image<T, V>(rows, output, window, from, to, wide, mine, padded);
      }
    });
    std::fill_n(result, edges * taps * from * to, T(0));
    for (int64_t p = 0; p < edges * parts; ++p)
      add_narrowed(sums.get() + p * size, taps * from, to, padded,
                   result + p / parts * taps * from * to);
  });
}

}  // namespace darts

#endif  // DARTS_JAX_CONVOLUTION_H_
