case $mode in
earlier) earlier ;;
work) work ;;
look) session || exit 79 ;;
halt) halt ;;
esac </dev/null
exit
