// Products of pixels and matrices, which dense convolutions are sums of.
//
// Several pixels by all lanes of one or two vectors of features are kept in registers.
#pragma once

#include "parallel.h"
#include "vectors.h"

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

// Pixels of a row, at the next of the numbers of each. An address may be that of a pixel
// and up to three strides, so that a register for every four of them is enough; compilers
// would take one for each, and run out.
template <class T, int PIXELS>
class Walk {
 public:
  Walk(const T* pixels, int64_t stride)
      : stride_(stride * sizeof(T)), three_(3 * stride_) {
#pragma GCC unroll 8
    for (int i = 0; i < kFours; ++i) {
      fours_[i] = reinterpret_cast<const char*>(pixels + 4 * i * stride);
      asm("" : "+r"(fours_[i]));  // not to be told from the first again
    }
  }

  T operator[](int pixel) const {
    const char* four = fours_[pixel / 4];
    const int64_t strides[] = {0, stride_, 2 * stride_, three_};
    return *reinterpret_cast<const T*>(four + strides[pixel % 4]);
  }

  void next() {
#pragma GCC unroll 8
    for (int i = 0; i < kFours; ++i) fours_[i] += sizeof(T);
  }

 private:
  static constexpr int kFours = (PIXELS + 3) / 4;
  const char* fours_[kFours];
  int64_t stride_, three_;
};

// Three products. Every number read serves three pixels, where it is loads that products
// wait for.
template <class T, int V, int COLUMNS, int PIXELS>
inline void three_products(const RowOf<T>& row, const T* pixels, const T* matrix,
                           int64_t apart, Vec<T, V> (&sums)[PIXELS][COLUMNS]) {
  Walk<T, PIXELS + kThree - 1> walk(pixels, row.stride);
  for (int64_t k = 0; k < row.from; ++k, walk.next()) {
    Vec<T, V> weights[kThree][COLUMNS];
#pragma GCC unroll 3
    for (int t = 0; t < kThree; ++t)
#pragma GCC unroll 4
      for (int c = 0; c < COLUMNS; ++c)
        weights[t][c] = load<T, V>(matrix + t * apart + k * row.padded + c * V);
#pragma GCC unroll 18
    for (int p = 0; p < PIXELS + kThree - 1; ++p) {
      const T number = walk[p];
#pragma GCC unroll 3
      for (int t = 0; t < kThree; ++t)
#pragma GCC unroll 4
        for (int c = 0; c < COLUMNS; ++c)
          if (p - t >= 0 && p - t < PIXELS) sums[p - t][c] += number * weights[t][c];
    }
  }
}

template <class T, int V, int COLUMNS, int PIXELS>
inline void one_product(const RowOf<T>& row, const T* pixels, const T* matrix,
                        Vec<T, V> (&sums)[PIXELS][COLUMNS]) {
  Walk<T, PIXELS> walk(pixels, row.stride);
  for (int64_t k = 0; k < row.from; ++k, walk.next()) {
    Vec<T, V> weights[COLUMNS];
#pragma GCC unroll 4
    for (int c = 0; c < COLUMNS; ++c)
      weights[c] = load<T, V>(matrix + k * row.padded + c * V);
#pragma GCC unroll 16
    for (int p = 0; p < PIXELS; ++p) {
      const T number = walk[p];
#pragma GCC unroll 4
      for (int c = 0; c < COLUMNS; ++c) sums[p][c] += number * weights[c];
    }
  }
}

template <class T, int V, int COLUMNS, int PIXELS>
inline void product_block(const RowOf<T>& row, int64_t pixel, int64_t column) {
  Vec<T, V> sums[PIXELS][COLUMNS] = {};
  for (int64_t t = 0; t < row.count; ++t) {
    const T* pixels = row.products[t].pixels + pixel * row.stride;
    const T* matrix = row.products[t].matrix + column;
    if (const int64_t apart = row.products[t].apart)
      three_products<T, V, COLUMNS, PIXELS>(row, pixels, matrix, apart, sums);
    else
      one_product<T, V, COLUMNS, PIXELS>(row, pixels, matrix, sums);
  }
  T* out = row.out + pixel * row.spacing + column;
  const int64_t left = row.to - column;
  if (left >= COLUMNS * V) {
#pragma GCC unroll 16
    for (int p = 0; p < PIXELS; ++p)
#pragma GCC unroll 4
      for (int c = 0; c < COLUMNS; ++c)
        store<T, V>(out + p * row.spacing + c * V, sums[p][c]);
    return;
  }
#pragma GCC unroll 16
  for (int p = 0; p < PIXELS; ++p)
#pragma GCC unroll 4
    for (int c = 0; c < COLUMNS; ++c)
      store_part<T, V>(out + p * row.spacing + c * V, sums[p][c], left - c * V);
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
Buffer<T> packed(xla::ffi::ThreadPool& pool, const T* kernel, int64_t taps, int64_t from,
                 int64_t to, bool transpose, int64_t padded) {
  Buffer<T> matrices(taps * from * padded);
  parallel_for(pool, taps, [&](int64_t t) {
    const T* numbers = kernel + t * from * to;
    T* matrix = matrices.get() + t * from * padded;
    for (int64_t f = 0; f < from; ++f)
      for (int64_t o = 0; o < to; ++o)
        matrix[f * padded + o] = numbers[transpose ? o * from + f : f * to + o];
  });
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

// The sum of parts, in their order, in the place of the first.
template <class T>
T* added_up(T* sums, int64_t parts, int64_t size) {
  for (int64_t p = 1; p < parts; ++p)
    for (int64_t i = 0; i < size; ++i) sums[i] += sums[p * size + i];
  return sums;
}

// Rows of columns without what vectors needed behind them.
template <class T>
void narrow(const T* from, int64_t rows, int64_t columns, int64_t padded, T* to) {
  for (int64_t r = 0; r < rows; ++r)
    std::memcpy(to + r * columns, from + r * padded, columns * sizeof(T));
}

}  // namespace darts
